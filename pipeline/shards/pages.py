"""The structure of an LMDB file, checked before LMDB maps it: LMDB believes every page, and may crash on a damaged one.

    pages | numbers of the structural pages, 8 bytes each | page size, pages, count, digest, "TDNPAGES"

Structural are all pages but the continuations of long values: trees, short values and meta pages. Long values are
not read here; each has a checksum of its own. LMDB ignores what follows its last page.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tdn_data.pipeline.errors import ShardError
from tdn_data.pipeline.shards.seal import DIGEST_BYTES, digest

MAGIC = b"TDNPAGES"
_END = struct.Struct(f"<QQQ{DIGEST_BYTES * 2}s8s")  # page size, pages, structural pages, digest, magic
_HEADER = struct.Struct("<QHHI")  # page number, padding, flags, pages of a long value (lmdb's MDB_page)
_OVERFLOW = 0x04
RUN_PAGES = 256  # read at once where structural pages follow each other


def seal_pages(path: Path, page_size: int) -> None:
    """Append the numbers of the structural pages and a digest of them and of their contents."""
    with path.open("r+b") as file:
        num_pages = os.fstat(file.fileno()).st_size // page_size
        numbers = np.fromiter(_structural_pages(file, page_size, num_pages), "<u8")
        table = numbers.tobytes()
        checksum = _digest_of_pages(file, numbers, page_size, table)
        file.seek(num_pages * page_size)
        file.truncate()
        file.write(table + _END.pack(page_size, num_pages, len(numbers), checksum.encode(), MAGIC))


def check_pages(path: Path, name: str) -> bool:
    """Return whether the file is sealed; raise ShardError when its structure is not what was written."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        end = os.pread(file.fileno(), _END.size, max(size - _END.size, 0))
        if len(end) < _END.size or not end.endswith(MAGIC):
            return False
        page_size, num_pages, count, checksum, _ = _END.unpack(end)
        if num_pages * page_size + 8 * count + _END.size != size or count > num_pages:
            raise ShardError(f"{name} has {size} bytes, not those that its end announces; it is damaged.", key=name)
        table = os.pread(file.fileno(), 8 * count, num_pages * page_size)
        numbers = np.frombuffer(table, "<u8")
        if count and int(numbers.max()) >= num_pages:
            raise ShardError(f"{name} has a damaged table of pages.", key=name)
        if _digest_of_pages(file, numbers, page_size, table).encode() != checksum:
            raise ShardError(f"{name} has damaged pages (their checksum differs).", key=name)
    return True


def _structural_pages(file: BinaryIO, page_size: int, num_pages: int) -> Iterator[int]:
    """Yield the numbers of all pages but those that continue a long value, and but its first, which has its header."""
    number = 0
    while number < num_pages:
        _, _, flags, run = _HEADER.unpack(os.pread(file.fileno(), _HEADER.size, number * page_size))
        if flags & _OVERFLOW:
            number += max(run, 1)
        else:
            yield number
            number += 1


def _digest_of_pages(file: BinaryIO, numbers: np.ndarray, page_size: int, table: bytes) -> str:
    return digest(chain((table, struct.pack("<Q", page_size)), _pages(file, numbers, page_size)))


def _pages(file: BinaryIO, numbers: np.ndarray, page_size: int) -> Iterator[bytes]:
    """Yield the contents of pages, those that follow each other at once."""
    for run in np.split(numbers, np.flatnonzero(np.diff(numbers.astype(np.int64)) != 1) + 1):
        for start in range(0, len(run), RUN_PAGES):
            part = run[start : start + RUN_PAGES]
            yield os.pread(file.fileno(), len(part) * page_size, int(part[0]) * page_size)
