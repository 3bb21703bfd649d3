"""On which kind of filesystem a folder lies: LMDB's memory map is not safe on those of a network."""

from __future__ import annotations

import re
from pathlib import Path

from tdn_data.pipeline.errors import InputError

NETWORK_FILESYSTEMS = ("nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "fuse.sshfs", "fuse.s3fs", "ceph", "9p")


def refuse_network_filesystem(folder: Path) -> None:
    """Raise InputError when `folder` lies on a network filesystem."""
    kind = filesystem_kind(folder)
    if kind in NETWORK_FILESYSTEMS:
        raise InputError(
            f"{folder} lies on a network filesystem ({kind}), where LMDB is not safe; "
            "use a local disk or --format parquet.",
            path=folder,
        )


def filesystem_kind(folder: Path, *, mounts: Path = Path("/proc/mounts")) -> str | None:
    """Return the type of the filesystem that holds `folder`, None where the system does not tell.

    It is that of the longest mount point that is `folder` or one of its parents; of two in one place the later counts.
    """
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    place, best, kind = folder.resolve(), -1, None
    for fields in (line.split() for line in lines):
        if len(fields) < 3:
            continue
        point = Path(_unescaped(fields[1]))
        if (place == point or point in place.parents) and len(point.parts) >= best:
            best, kind = len(point.parts), fields[2]
    return kind


def _unescaped(text: str) -> str:
    r"""Return a mount point as it is: the system writes blanks in it as \040.

    >>> _unescaped("/media/my\\040disk")
    '/media/my disk'
    """
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
