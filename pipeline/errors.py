"""What can go wrong, in the few kinds a caller treats differently.

A message is one sentence that names the thing and the way out; the command line prints it as it stands.
"""

from __future__ import annotations

from tdn_data.pipeline.text import shown_text

MAX_REASON = 300  # characters of another program's own words, which can be pages


def own_words(error: BaseException) -> str:
    """Return what an error of another program says, on one line without a full stop, its kind where it says nothing.

    >>> own_words(OSError("no such  file.")), own_words(ValueError())
    ('no such file', 'ValueError')
    """
    return " ".join(str(error).split()).rstrip(".")[:MAX_REASON] or type(error).__name__


class PipelineError(Exception):
    """A fault that the pipeline understands: `message`, and the `path` or `key` it is about where there is one."""

    def __init__(self, message: str, *, path: object | None = None, key: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.path = None if path is None else str(path)
        self.key = key


class InputError(PipelineError):
    """Something the user gave is missing or wrong; nothing was started (exit code 2)."""


class StorageError(PipelineError):
    """The output cannot be written or read back: a full disk, a read-only folder, a lost connection."""


class ShardError(PipelineError):
    """A shard that is there but is not what it says: truncated, of another version, of other parameters."""


class VideoError(PipelineError):
    """A video that cannot be read, wholly or from some point on; `reason` is the ledger's word for it."""

    REASONS = (
        "missing",  # the file is not there
        "unreadable",  # there, but no container that can be opened
        "unsupported",  # a playlist, a codec or a kind of file that is not read here
        "no_video_stream",  # a container without pictures
        "truncated",  # breaks off before its announced end
        "corrupt",  # packets that do not decode
        "no_frames",  # opens, and not one frame comes out
        "too_large",  # more pixels or memory than allowed
        "timeout",  # decoding did not end within the limit
        "crashed",  # the decoding process died
    )

    def __init__(self, reason: str, message: str, *, path: object | None = None) -> None:
        if reason not in self.REASONS:
            raise ValueError(f"reason is {reason!r}; known reasons: {', '.join(self.REASONS)}")
        super().__init__(message, path=path)
        self.reason = reason

    @property
    def sentence(self) -> str:
        """The message without the file's path, which stands beside it wherever this is shown."""
        text = self.message.strip()
        if self.path:
            for path in (self.path, shown_text(self.path)):
                text = text.removeprefix(f"{path}: ").replace(f"'{path}'", path).replace(path, "the file")
        return text.removeprefix(": ").strip()

    def __reduce__(self):
        return _rebuild_video_error, (self.reason, self.message, self.path)


def _rebuild_video_error(reason: str, message: str, path: str | None) -> VideoError:
    return VideoError(reason, message, path=path)
