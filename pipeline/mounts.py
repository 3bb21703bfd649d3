"""On which kind of filesystem a folder lies: LMDB's memory map is not safe on those of a network."""

from __future__ import annotations

from pathlib import Path

import psutil

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


def filesystem_kind(folder: Path) -> str | None:
    """Return the type of the filesystem that holds `folder`, None where the system does not say.

    It is that of the longest mount point that is `folder` or one of its parents; of two in one place the later counts.
    """
    place, best, kind = folder.resolve(), -1, None
    try:
        partitions = psutil.disk_partitions(all=True)
    except OSError:
        return None
    for partition in partitions:
        point = Path(partition.mountpoint)
        if (place == point or point in place.parents) and len(point.parts) >= best:
            best, kind = len(point.parts), partition.fstype
    return kind
