"""The end of a Parquet file, checked before anything of it is parsed.

    data pages | footer (Thrift) | length of the footer, 4 bytes | PAR1

The footer says where each page lies, and Parquet has checksums for pages alone. Here a key-value entry of the footer,
`tdn_seal`, holds a digest of the footer itself, taken while the entry is all zeros; page contents have their own.
"""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa

from tdn_data.pipeline.errors import ShardError
from tdn_data.pipeline.shards.seal import DIGEST_BYTES, digest

SEAL_KEY = b"tdn_seal"
EMPTY_SEAL = "0" * (2 * DIGEST_BYTES)
MAGIC = b"PAR1"
TAIL_BYTES = 1 << 16  # read at once from the end; most footers are shorter

# Thrift's compact protocol: key, field 2 of type string, length 32, value
_SEAL = re.compile(re.escape(SEAL_KEY) + rb"\x18" + bytes([2 * DIGEST_BYTES]) + rb"([0-9a-f]{%d})" % (2 * DIGEST_BYTES))


def seal_footer(path: Path) -> None:
    """Replace the empty seal in a finished Parquet file by the digest of its footer."""
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        file.seek(size - 8)
        start = size - 8 - int.from_bytes(file.read(4), "little")
        file.seek(start)
        footer = file.read(size - 8 - start)
        place = _find_seal(footer)
        if place is None:
            raise ShardError(f"{path.name} has no entry for its seal.", key=path.name)
        file.seek(start + place[0])
        file.write(_digest_without(footer, place).encode())


def read_footer(source: pa.NativeFile, name: str) -> tuple[bytes, bool]:
    """Return a Parquet file's footer and whether it is sealed; raise ShardError when it is not what was written.

    The bytes are those of a whole, empty Parquet file, which `pyarrow.parquet.read_metadata` takes.
    """
    size = source.size()
    tail = source.read_at(min(size, TAIL_BYTES), size - min(size, TAIL_BYTES))
    if len(tail) < 12 or tail[-4:] != MAGIC:
        raise ShardError(f"{name} has {size} bytes and no end of a Parquet file; it is cut off or damaged.", key=name)
    length = int.from_bytes(tail[-8:-4], "little")
    if length > size - 12:
        raise ShardError(f"{name} has {size} bytes and a footer of {length}; it is damaged.", key=name)
    if length + 8 > len(tail):
        tail = source.read_at(length + 8, size - length - 8)
    footer = tail[-8 - length : -8]
    place = _find_seal(footer)
    if place is not None and footer[slice(*place)].decode() != _digest_without(footer, place):
        raise ShardError(f"{name} has a damaged footer (its checksum differs).", key=name)
    return MAGIC + tail[-8 - length :], place is not None


def _find_seal(footer: bytes) -> tuple[int, int] | None:
    """Return where the seal begins and ends: in the last entry that looks like one, for statistics come before."""
    found = [match.span(1) for match in _SEAL.finditer(footer)]
    return found[-1] if found else None


def _digest_without(footer: bytes, place: tuple[int, int]) -> str:
    return digest((footer[: place[0]], footer[place[1] :]))
