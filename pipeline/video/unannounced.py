"""Files that say at no place how long they are, and yet show that they were cut off: GIF and YUV4MPEG2.

A GIF (GIF89a specification, 27) ends with the trailer 0x3B. YUV4MPEG2 (mjpegtools, yuv4mpeg(5)) has a head line, then
for each picture a line that begins with FRAME and as many bytes as the head line's size and layout ask for.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import BinaryIO

_MAX_PARTS = 100_000_000  # blocks or pictures of one file
_MAX_LINE_BYTES = 1 << 12
_EXTENSION, _IMAGE, _TRAILER = b"\x21", b"\x2c", b"\x3b"
_Y4M = b"YUV4MPEG2 "
_CHROMA = {"420": (2, 2), "411": (4, 1), "422": (2, 1), "444": (1, 1), "mono": None}  # pixels to a sample, x and y


def lacks_its_end(path: str | os.PathLike) -> bool:
    """Whether a GIF has no trailer behind its blocks, or a YUV4MPEG2 file ends inside a picture; False for others."""
    with Path(path).open("rb") as file:
        head = file.read(len(_Y4M))
        file.seek(0)
        if head[:6] in (b"GIF87a", b"GIF89a"):
            return gif_end(path) is None
        return head == _Y4M and _is_cut_y4m(file)


def gif_end(path: str | os.PathLike) -> int | None:
    """The byte behind a GIF's trailer; None where its blocks do not lead to one. Zeros between them are passed over."""
    with Path(path).open("rb") as file:
        file.seek(10)
        file.seek(13 + _table_bytes(file.read(1)))
        for _ in range(_MAX_PARTS):
            kind = file.read(1)
            if kind == b"\0":
                continue
            if kind == _EXTENSION:
                file.read(1)
            elif kind == _IMAGE:
                table = file.read(9)[8:]
                file.seek(_table_bytes(table) + 1, os.SEEK_CUR)  # and the smallest code's size
            else:
                return file.tell() if kind == _TRAILER else None
            if not _skip_sub_blocks(file):
                return None
    return None


def _table_bytes(flags: bytes) -> int:
    """How many bytes the colour table has that a packed field announces."""
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0


def _skip_sub_blocks(file: BinaryIO) -> bool:
    """Go behind a chain of sub-blocks; whether it ends as it must, with an empty one."""
    while length := file.read(1):
        if length == b"\0":
            return True
        if len(file.read(length[0])) < length[0]:
            return False
    return False


def _is_cut_y4m(file: BinaryIO) -> bool:
    """Whether the last picture has fewer bytes than its size asks for; False for a layout that is not known."""
    num_bytes, end = _picture_bytes(file.readline(_MAX_LINE_BYTES)), os.fstat(file.fileno()).st_size
    for _ in range(_MAX_PARTS if num_bytes else 0):
        line = file.readline(_MAX_LINE_BYTES)
        if not line.endswith(b"\n"):
            return b"FRAME".startswith(line[:5]) and line != b""
        if not line.startswith(b"FRAME"):
            return False
        if file.seek(num_bytes, os.SEEK_CUR) > end:
            return True
    return False


def _picture_bytes(head: bytes) -> int:
    """How many bytes a picture has by the head line, 0 where that is not known."""
    words = {word[:1]: word[1:] for word in head.decode("latin-1").split()[1:]}
    layout = re.fullmatch(r"(420|411|422|444|mono)(jpeg|mpeg2|paldv|alpha)?(?:p?(\d+))?", words.get("C", "420"))
    sizes = [words.get(name, "") for name in "WH"]
    if layout is None or not all(re.fullmatch(r"[0-9]{1,6}", size) for size in sizes):
        return 0
    width, height = map(int, sizes)
    samples = width * height * (2 if layout[2] == "alpha" else 1)
    if _CHROMA[layout[1]] is not None:
        across, down = _CHROMA[layout[1]]
        samples += 2 * -(-width // across) * -(-height // down)
    return samples * (2 if int(layout[3] or 8) > 8 else 1)
