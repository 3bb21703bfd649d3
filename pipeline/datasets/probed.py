"""What probing has found so far, in a file beside the manifest to be: an interrupted index goes on from there.

    {"av": "18.1.0", "program": "0.1.0"}                                              what found it
    {"codec": "h264", "fingerprint": "3f...", "fps": 25.0, ..., "problem": null}      one line per file

A line is looked up by the file's fingerprint: a file that has changed is probed again, one that was moved is not. What
a timeout or a crash ended is not kept, as it may have come from outside.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from tdn_data.pipeline import __version__
from tdn_data.pipeline.datasets.manifest import VideoRecord
from tdn_data.pipeline.files import opened_to_append
from tdn_data.pipeline.machine import installed_version

FACTS = ("codec", "width", "height", "fps", "duration_seconds", "problem")
_FROM_OUTSIDE = ("timeout", "crashed", "missing", "unreadable")


class Probed:
    """Facts of files that were probed, by fingerprint; what is kept is written at once."""

    def __init__(self, file: TextIO, found: Mapping[str, dict[str, object]]) -> None:
        self._file = file
        self._found = found

    def facts(self, record: VideoRecord) -> dict[str, object] | None:
        """Return what an earlier run found of a fingerprinted file; None where that is nothing."""
        return self._found.get(record.fingerprint)

    def keep(self, record: VideoRecord) -> None:
        """Write down what was found of a file."""
        if record.fingerprint is None or record.problem in _FROM_OUTSIDE or record.fingerprint in self._found:
            return
        facts = {name: getattr(record, name) for name in FACTS}
        self._file.write(json.dumps(facts | {"fingerprint": record.fingerprint}, sort_keys=True) + "\n")
        self._file.flush()


@contextmanager
def probed_so_far(out: Path) -> Iterator[Probed]:
    """Give what an interrupted run found for the manifest `out`; the file goes when the block ends without an error."""
    path = out.with_name(f"{out.name}.probed")
    found = _read(path)
    with opened_to_append(path, afresh=found is None) as file:
        if found is None:
            file.write(json.dumps(_made_by(), sort_keys=True) + "\n")
        yield Probed(file, found or {})
    path.unlink(missing_ok=True)


def _made_by() -> dict[str, str | None]:
    return {"program": __version__, "av": installed_version("av")}


def _read(path: Path) -> dict[str, dict[str, object]] | None:
    """Return fingerprint -> facts; None where there is no such file, or one of other versions."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    rows = [row for row in map(_row, lines) if row is not None]
    if not rows or rows[0] != _made_by():
        return None
    kept = {*FACTS, "fingerprint"}
    return {row["fingerprint"]: {name: row[name] for name in FACTS} for row in rows[1:] if row.keys() == kept}


def _row(line: str) -> dict[str, object] | None:
    """Return a line's content; None for the torn one that a killed run leaves."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
