"""Listed paths and the identifiers made of them: one written form for each file, one identifier for each.

./v//2.mp4          -> v/2.mp4               the path as it is kept
v/2.mp4             -> v/2                   its identifier
a.avi beside a.mp4  -> a.avi and a.mp4       what tells the two apart stays
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from tdn_data.pipeline.limits import MAX_IDENTIFIER_BYTES


def normal_path(path: str) -> str:
    """Return a listed path without what names the same file twice: `./`, doubled slashes, a slash at the end."""
    return PurePosixPath(path).as_posix() if path else path


def under(folder: str, path: str) -> str:
    """Return `folder/path`; an absolute path stays as it is, so that it is refused and not taken for another."""
    return path if path.startswith("/") else f"{folder}/{path}"


def path_fault(path: str, root: str | os.PathLike[str]) -> tuple[str, str] | None:
    """Return (kind of finding, words) for a path that cannot name a file inside `root`, None for one that can."""
    if "\0" in path or not PurePosixPath(path).name:
        return "names_no_file", f"{path!r} names no file."
    if path.startswith("/"):
        inside = _inside(path, root)
        if inside is not None:
            return "outside_root", f"{path!r} is an absolute path; write it relative to the data set's folder: {inside}"
        where = f"an absolute path outside the data set's folder {os.fspath(root)}"
        return "outside_root", f"{path!r} is {where}; paths are relative to it, and links in it may lead elsewhere."
    if ".." in path.split("/"):
        return "outside_root", f"{path!r} leaves the data set's folder; paths are relative to it."
    return None


def _inside(path: str, root: str | os.PathLike[str]) -> str | None:
    """Return an absolute path relative to `root`, None where it lies elsewhere."""
    plain = Path(os.path.normpath(path))
    for folder in (Path(os.path.abspath(root)), Path(os.path.realpath(root))):
        if plain.is_relative_to(folder):
            return plain.relative_to(folder).as_posix()
    return None


def distinct_identifiers(videos: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return (identifier, path) -> identifier for all `videos`, such that different files have different ones.

    An identifier that stands for one file stays as it is. Where several files share one, each gets its file extension
    back (`a.avi`, `a.mp4`), and so does a file whose own identifier then is one of these. What is still shared is for
    the caller to refuse. An identifier too long for the keys of a shard ends in a digest of itself instead.
    """
    names = {key: key[0] for key in videos}
    while True:
        suffixes: dict[str, set[str]] = {}
        for (_, path), name in names.items():
            suffixes.setdefault(name, set()).add(PurePosixPath(path).suffix)
        shared = {key for key, name in names.items() if len(suffixes[name]) > 1 and name == key[0]}
        longer = {key: key[0] + PurePosixPath(key[1]).suffix for key in shared}
        if all(names[key] == name for key, name in longer.items()):
            return _shortened(names)
        names |= longer


def _shortened(names: Mapping[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    return {key: shortened_identifier(name) for key, name in names.items()}


def shortened_identifier(name: str, *, max_bytes: int = MAX_IDENTIFIER_BYTES) -> str:
    """Return an identifier of at most `max_bytes` bytes: itself, or its beginning, `~` and a 128-bit digest of all."""
    content = name.encode("utf-8", "surrogateescape")
    if len(content) <= max_bytes:
        return name
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    return f"{content[: max_bytes - len(digest) - 1].decode('utf-8', 'ignore')}~{digest}"
