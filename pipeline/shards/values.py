"""Single values of a Parquet column of bytes, read where they lie (Apache Parquet format, "Data Pages", "PLAIN").

    column chunk   page, page, ...
    page           header (Thrift, compact protocol) | length, 4 bytes | definition levels | values
    value          length, 4 bytes, little endian | its bytes

pyarrow reads a row group's column whole: a clip of three frames of a video would cost 384 of them. Here a reader walks
from length to length, 4 bytes each, and reads the values asked for alone. Page checksums cover whole pages, so nothing
is checked here: whoever reads values compares checksums of their own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

HEADER_BYTES = 512  # read for a page's header; one without statistics has about 40

_LENGTH = struct.Struct("<I")
_DATA_PAGE, _PLAIN = 0, 0  # parquet.thrift: PageType.DATA_PAGE, Encoding.PLAIN
_PAGE_TYPE, _PAGE_SIZE, _DATA_HEADER, _NUM_VALUES, _ENCODING = 1, 3, 5, 1, 2  # fields of PageHeader, DataPageHeader


def leaves_of(metadata: pq.FileMetaData) -> dict[str, int]:
    """Return the number of each column in a row group, by its path; none where there is no row group.

    pyarrow's `schema` of a file says the same, and keeps the parsed footer, some megabytes, until Python's garbage
    collector looks at its oldest objects: the two refer to each other.
    """
    if not metadata.num_row_groups:
        return {}
    group = metadata.row_group(0)
    return {group.column(number).path_in_schema: number for number in range(group.num_columns)}


def can_be_walked(file: pq.ParquetFile, name: str) -> bool:
    """Return whether a column's values lie one after the other in all row groups: flat, plain and uncompressed."""
    field, metadata = file.schema_arrow.field(name), file.metadata
    if not (pa.types.is_binary(field.type) and field.nullable):
        return False
    column = leaves_of(metadata).get(name)
    return all(_is_plain(metadata.row_group(number).column(column)) for number in range(metadata.num_row_groups))


def _is_plain(chunk: pq.ColumnChunkMetaData) -> bool:
    encodings = set(chunk.encodings) <= {"PLAIN", "RLE"}  # RLE is that of the levels
    return chunk.compression == "UNCOMPRESSED" and encodings and not chunk.has_dictionary_page


def values_at(source: pa.NativeFile, chunk: pq.ColumnChunkMetaData, places: Sequence[int]) -> list[bytes]:
    """Return the values at `places` (rising) of one column chunk; raise ValueError where the chunk does not hold them.

    What is damaged otherwise gives other bytes, or raises whatever parsing damaged bytes can raise.
    """
    found, wanted, read_at = [], iter(places), source.read_at
    place = next(wanted, None)
    for first, count, start, end in _pages(source, chunk):
        number = first
        while place is not None and place < first + count:
            for _ in range(place - number):
                start += 4 + int.from_bytes(read_at(4, start), "little")
            length = _length(source, start, end)
            found.append(read_at(length, start + 4))
            start, number, place = start + 4 + length, place + 1, next(wanted, None)
        if place is None:
            return found
    if place is not None:
        raise ValueError(f"row {place} is not in its row group")
    return found


def _pages(source: pa.NativeFile, chunk: pq.ColumnChunkMetaData) -> Iterator[tuple[int, int, int, int]]:
    """Yield each data page's first row, its number of rows, and where in the file its values begin and end."""
    start, row = chunk.data_page_offset, 0
    chunk_end = start + chunk.total_compressed_size
    while start < chunk_end:
        header, num_bytes = _thrift_struct(source.read_at(HEADER_BYTES, start), 0)
        end = start + num_bytes + header[_PAGE_SIZE]
        if (header[_PAGE_TYPE], header[_DATA_HEADER][_ENCODING]) != (_DATA_PAGE, _PLAIN):
            raise ValueError("a page is no plain data page")
        count, levels = header[_DATA_HEADER][_NUM_VALUES], start + num_bytes
        if not levels < end <= chunk_end or count < 1:
            raise ValueError(f"a page of {count} values and {end - levels} bytes does not fit into its row group")
        yield row, count, levels + 4 + _length(source, levels, end), end
        start, row = end, row + count


def _length(source: pa.NativeFile, start: int, end: int) -> int:
    """Return the length that stands at `start`; raise ValueError when what it announces does not end by `end`."""
    (length,) = _LENGTH.unpack(source.read_at(4, start))
    if start + 4 + length > end:
        raise ValueError(f"a value of {length} bytes does not fit into its page")
    return length


def _thrift_struct(data: bytes, start: int) -> tuple[dict[int, object], int]:
    """Return a struct of Thrift's compact protocol as field number -> value, and where it ends; lists are not known."""
    fields, number = {}, 0
    while data[start]:
        step, kind = data[start] >> 4, data[start] & 15
        start += 1
        if step:
            number += step
        else:
            zigzag, start = _varint(data, start)
            number = _signed(zigzag)
        fields[number], start = _thrift_value(data, start, kind)
    return fields, start + 1


def _thrift_value(data: bytes, start: int, kind: int) -> tuple[object, int]:
    if kind in (1, 2):  # true, false
        return kind == 1, start
    if kind in (4, 5, 6):  # whole numbers of 16, 32 and 64 bits
        value, start = _varint(data, start)
        return _signed(value), start
    if kind == 8:  # bytes
        length, start = _varint(data, start)
        return data[start : start + length], start + length
    if kind == 12:
        return _thrift_struct(data, start)
    raise ValueError(f"a page header has a field of type {kind}")


def _varint(data: bytes, start: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[start]
        value, shift, start = value | (byte & 127) << shift, shift + 7, start + 1
        if byte < 128:
            return value, start


def _signed(zigzag: int) -> int:
    return (zigzag >> 1) ^ -(zigzag & 1)
