"""Files that are the same under two identifiers, by content; in two splits, tests are of what was learned by heart.

Every record has the digest of its file's size and of three samples of it (`fingerprint_file`). Only files that agree in
those are read whole, which are none in most sets. On a network filesystem they are not, and the finding says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from tdn_data.pipeline.datasets.listing import Finding
from tdn_data.pipeline.datasets.manifest import UNUSED, Manifest, VideoRecord
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import open_regular
from tdn_data.pipeline.mounts import NETWORK_FILESYSTEMS, filesystem_kind
from tdn_data.pipeline.text import some_of

READ_BYTES = 1 << 20  # at once


def same_content_findings(manifest: Manifest) -> Iterator[Finding]:
    """Yield a finding for each file that the manifest lists under several identifiers, those of two splits first."""
    root = Path(manifest.root)
    alike: dict[str, list[VideoRecord]] = {}
    for record in manifest:
        if record.fingerprint is not None and record.size_bytes:
            alike.setdefault(record.fingerprint, []).append(record)
    groups = [group for group in alike.values() if len(group) > 1]
    if not groups:
        return
    kind = filesystem_kind(root)
    if kind in NETWORK_FILESYSTEMS:
        how = f"have one size, beginning, middle and end (not read whole from a network filesystem, {kind})"
    else:
        groups, how = [same for group in groups for same in _same_bytes(root, group)], "are the same, byte for byte"
    for group in sorted(groups, key=lambda group: (not in_two_splits(group), group[0].path)):
        yield _finding(group, how, manifest)


def in_two_splits(group: Sequence[VideoRecord]) -> bool:
    """Whether one of the train/test splits has the records in two splits."""
    columns = [[record.split for record in group]]
    columns += zip(*(record.list_splits for record in group if record.list_splits), strict=False)
    return any(len({split for split in column if split not in (None, UNUSED)}) > 1 for column in columns)


def _finding(group: Sequence[VideoRecord], how: str, manifest: Manifest) -> Finding:
    names = some_of([f"{record.path!r} ({record.split})" for record in group], 4)
    if not in_two_splits(group):
        labels = {record.labels for record in group}
        other = ", with other labels" if len(labels) > 1 else ""
        return Finding("same_content", f"{manifest.root}: {names} {how}{other}.", group[0].path)
    words = "keep it in one split, or tests are of what was learned by heart"
    return Finding("same_content_in_two_splits", f"{manifest.root}: {names} {how}; {words}.", group[0].path)


def _same_bytes(root: Path, group: Sequence[VideoRecord]) -> list[list[VideoRecord]]:
    """Return the records of a group whose whole files are the same, in groups of two or more."""
    found: dict[bytes, list[VideoRecord]] = {}
    for record in group:
        try:
            found.setdefault(_digest(root / record.path), []).append(record)
        except (InputError, OSError):
            continue  # gone or unreadable by now; nothing can be said of it
    return [same for same in found.values() if len(same) > 1]


def _digest(path: Path) -> bytes:
    state = hashlib.blake2b()
    with open_regular(path, what="video") as file:
        while block := file.read(READ_BYTES):
            state.update(block)
    return state.digest()
