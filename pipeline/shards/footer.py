"""The end of a Parquet file, checked before anything of it is parsed.

    data pages | page index | footer (Thrift) | length of the footer, 4 bytes | PAR1

The footer says where each page lies, and Parquet has checksums for pages alone. Here key-value entries of the footer
hold digests: `tdn_page_index` one of the page index, which other programs find rows by and nothing here reads, and
`tdn_seal` one of the footer itself, taken while the entry is all zeros; page contents have their own.
"""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tdn_data.pipeline.errors import ShardError
from tdn_data.pipeline.shards.seal import DIGEST_BYTES, digest

SEAL_KEY, INDEX_KEY = b"tdn_seal", b"tdn_page_index"
EMPTY_SEALS = {INDEX_KEY: "0" * (2 * DIGEST_BYTES), SEAL_KEY: "0" * (2 * DIGEST_BYTES)}
MAGIC = b"PAR1"
TAIL_BYTES = 1 << 16  # read at once from the end; most footers are shorter


def _entry(key: bytes) -> re.Pattern[bytes]:
    """Return what finds an entry in Thrift's compact protocol: key, field 2 of type string, length 32, value."""
    size = 2 * DIGEST_BYTES
    return re.compile(re.escape(key) + rb"\x18" + bytes([size]) + rb"([0-9a-f]{%d})" % size)


_SEAL, _INDEX = _entry(SEAL_KEY), _entry(INDEX_KEY)


def seal_footer(path: Path) -> None:
    """Replace the empty seals in a finished Parquet file by the digests of its page index and of its footer."""
    index_start = _end_of_pages(pq.read_metadata(path))
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        file.seek(size - 8)
        start = size - 8 - int.from_bytes(file.read(4), "little")
        file.seek(index_start)
        content = file.read(size - 8 - index_start)
        index, footer = content[: start - index_start], bytearray(content[start - index_start :])
        footer[slice(*_place(_INDEX, footer, path.name))] = digest((index,)).encode()
        seal = _place(_SEAL, footer, path.name)
        footer[slice(*seal)] = _digest_without(bytes(footer), seal).encode()
        file.seek(start)
        file.write(footer)


def check_page_index(source: pa.NativeFile, metadata: pq.FileMetaData, name: str) -> None:
    """Raise ShardError unless the page index is what was written; older files have none, or no digest of it."""
    written = (metadata.metadata or {}).get(INDEX_KEY)
    start = _end_of_pages(metadata)
    end = source.size() - 8 - int.from_bytes(source.read_at(4, source.size() - 8), "little")
    if written is not None and digest((source.read_at(end - start, start),)).encode() != written:
        raise ShardError(f"{name} has a damaged page index (its checksum differs).", key=name)


def _end_of_pages(metadata: pq.FileMetaData) -> int:
    """Return where the last page ends, which the page index follows."""
    if not metadata.num_row_groups:
        return len(MAGIC)
    group = metadata.row_group(metadata.num_row_groups - 1)
    chunk = group.column(group.num_columns - 1)
    first = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
    return first + chunk.total_compressed_size


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
    place = _find(_SEAL, footer)
    if place is not None and footer[slice(*place)].decode() != _digest_without(footer, place):
        raise ShardError(f"{name} has a damaged footer (its checksum differs).", key=name)
    return MAGIC + tail[-8 - length :], place is not None


def _place(entry: re.Pattern[bytes], footer: bytearray, name: str) -> tuple[int, int]:
    place = _find(entry, footer)
    if place is None:
        raise ShardError(f"{name} has no entry for its seal.", key=name)
    return place


def _find(entry: re.Pattern[bytes], footer: bytes | bytearray) -> tuple[int, int] | None:
    """Return where a digest begins and ends: in the last entry that looks like one, for statistics come before."""
    found = [match.span(1) for match in entry.finditer(footer)]
    return found[-1] if found else None


def _digest_without(footer: bytes, place: tuple[int, int]) -> str:
    return digest((footer[: place[0]], footer[place[1] :]))
