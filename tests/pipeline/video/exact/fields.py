"""Numbered pictures of two fields, written bit by bit: what no encoder here makes.

H.264 with every macroblock but one column sent as it is (I_PCM, ITU-T H.264, 7.3.5), MPEG-2 with the mean of each block
alone (ISO 13818-2, 6.2.6 and 7.2.1). In predicted pictures one column is skipped, which shows what was predicted from.

    coded     I0  P2  b1  P4  b3 ...          every fourth picture of H.264 is one frame, all others two fields
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import av
import numpy as np

from tests.pipeline.video.exact.pictures import HEIGHT, WIDTH, picture

GROUP = 11  # pictures from one I to before the next: the last is a P
_BLOCK = 16
_SKIPPED_COLUMN = 1  # of macroblocks, beside the squares of the number


class Coded(NamedTuple):
    """A picture in decoding order: its number on screen, and how it is coded."""

    number: int
    kind: str  # I, P, b
    since_start: int  # pictures on screen since that of the I
    reference: int  # how many pictures that others are predicted from came since the I


class _Writer:
    """Bits, first the most significant."""

    def __init__(self) -> None:
        self._bits: list[str] = []

    def put(self, value: int, width: int) -> _Writer:
        self._bits.append(f"{value:0{width}b}" if width else "")
        return self

    def code(self, bits: str) -> _Writer:
        self._bits.append(bits)
        return self

    def golomb(self, *values: int) -> _Writer:
        for value in values:
            digits = f"{value + 1:b}"
            self._bits.append("0" * (len(digits) - 1) + digits)
        return self

    def align(self) -> _Writer:
        self.code("0" * (-sum(map(len, self._bits)) % 8))
        return self

    def data(self, content: bytes) -> _Writer:
        return self.code("".join(f"{byte:08b}" for byte in content))

    def content(self) -> bytes:
        """All bytes, the last filled up with zeros."""
        bits = "".join(self._bits)
        bits += "0" * (-len(bits) % 8)
        return int(bits, 2).to_bytes(len(bits) // 8, "big") if bits else b""


def decoding_order(num_pictures: int) -> Iterator[Coded]:
    """Groups of I P b P b ...; a group's last picture is a P, so that all groups are closed."""
    for first in range(0, num_pictures, GROUP):
        last = min(first + GROUP, num_pictures) - 1
        yield Coded(first, "I", 0, 0)
        anchors = [*range(first + 2, last, 2), *([last] if last > first else [])]
        for place, number in enumerate(anchors, 1):
            yield Coded(number, "P", number - first, place)
            if number - first >= 2 and number - 1 not in anchors:
                yield Coded(number - 1, "b", number - 1 - first, place + 1)


@cache
def _planes(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24").reformat(format="yuv420p")
    planes = frame.to_ndarray(format="yuv420p")
    chroma = planes[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)
    return planes[:HEIGHT], chroma[0], chroma[1]


def _macroblocks(planes: list[np.ndarray]) -> Iterator[tuple[int, int, list[np.ndarray]]]:
    """(row, column, luma and chroma) of each macroblock, row by row."""
    for row in range(planes[0].shape[0] // _BLOCK):
        for column in range(planes[0].shape[1] // _BLOCK):
            sides = (_BLOCK, _BLOCK // 2, _BLOCK // 2)
            yield (
                row,
                column,
                [
                    plane[row * side : (row + 1) * side, column * side : (column + 1) * side]
                    for plane, side in zip(planes, sides, strict=True)
                ],
            )


def _unit(kind: int, reference: int, bits: _Writer) -> bytes:
    """A NAL unit behind a start code, with its stop bit and emulation prevention (7.3.1, 7.4.1)."""
    payload = re.sub(rb"\x00\x00(?=[\x00-\x03])", b"\0\0\3", bits.code("1").content())
    return b"\0\0\0\1" + bytes([reference << 5 | kind]) + payload


def h264_parameters() -> bytes:
    """Sequence and picture parameter sets (7.3.2.1 and 7.3.2.2): main profile, fields allowed, CAVLC."""
    sequence = _Writer().put(77, 8).put(0, 8).put(30, 8).golomb(0, 0, 0, 4, 2).put(0, 1)
    sequence.golomb(WIDTH // _BLOCK - 1, HEIGHT // _BLOCK // 2 - 1).code("00100")
    picture_set = _Writer().golomb(0, 0).code("00").golomb(0, 0, 0).code("000").golomb(0, 0, 0).code("100")
    return _unit(7, 3, sequence) + _unit(8, 3, picture_set)


def h264_picture(coded: Coded) -> bytes:
    """One frame, or two fields, the upper first."""
    planes = list(_planes(coded.number))
    if coded.number % 4 == 3:
        return _h264_slice(coded, planes, field=None)
    return b"".join(_h264_slice(coded, [plane[field::2] for plane in planes], field=field) for field in (0, 1))


def _h264_slice(coded: Coded, planes: list[np.ndarray], *, field: int | None) -> bytes:
    """A slice with its header (7.3.3); the second field of an I picture is no instantaneous refresh any more."""
    refresh, reference = coded.kind == "I" and not field, coded.kind != "b"
    kind = {"I": 7, "P": 5, "b": 6}[coded.kind]
    bits = _Writer().golomb(0, kind, 0).put(coded.reference % 16, 4)
    bits.code("0" if field is None else f"1{field}")
    if refresh:
        bits.golomb(coded.number // GROUP % 2)
    bits.put(2 * coded.since_start + (field or 0), 8)
    bits.code({"I": "", "P": "00", "b": "1000"}[coded.kind])
    if reference:
        bits.code("00" if refresh else "0")
    bits.golomb(0, 1)
    skipped = 0
    for _, column, block in _macroblocks(planes):
        if coded.kind == "P" and column == _SKIPPED_COLUMN:
            skipped += 1
            continue
        if coded.kind != "I":
            bits.golomb(skipped)
        skipped = 0
        bits.golomb({"I": 25, "P": 30, "b": 48}[coded.kind]).align()
        bits.data(b"".join(plane.tobytes() for plane in block))
    return _unit(5 if refresh else 1, 2 * reference, bits)


_LUMA_SIZES = ("100", "00", "01", "101", "110", "1110", "11110", "111110", "1111110", "11111110")  # table B.12
_CHROMA_SIZES = ("00", "01", "10", "110", "1110", "11110", "111110", "1111110", "11111110", "111111110")  # B.13


def mpeg2_headers() -> bytes:
    """Sequence header, its extension and that of a closed group (6.2.2.1, 6.2.2.3, 6.2.2.6)."""
    sequence = _Writer().put(WIDTH, 12).put(HEIGHT, 12).put(1, 4).put(3, 4).put(0x3FFFF, 18).put(1, 1).put(112, 10)
    extension = _Writer().put(1, 4).put(0x48, 8).code("0010000").put(0, 12).code("1").put(0, 8).code("0" * 8)
    group = _Writer().code("0" * 12 + "1" + "0" * 12).code("10")
    parts = ((0xB3, sequence.code("000")), (0xB5, extension), (0xB8, group))
    return b"".join(b"\0\0\1" + bytes([kind]) + bits.content() for kind, bits in parts)


def mpeg2_picture(coded: Coded) -> bytes:
    """Two field pictures, the upper first; the second of an I picture is a P, as the standard wants it."""
    planes = _planes(coded.number)
    fields = ([plane[field::2] for plane in planes] for field in (0, 1))
    kinds = ("I", "P") if coded.kind == "I" else (coded.kind,) * 2
    return b"".join(
        _mpeg2_field(coded, kind, field, rows) for field, (kind, rows) in enumerate(zip(kinds, fields, strict=True))
    )


def _mpeg2_field(coded: Coded, kind: str, field: int, planes: list[np.ndarray]) -> bytes:
    """Picture header, coding extension and one slice for each row of macroblocks (6.2.3, 6.2.3.1, 6.2.4)."""
    header = _Writer().put(coded.since_start, 10).put(" IPb".index(kind), 3).put(0xFFFF, 16)
    header.code({"I": "", "P": "0111", "b": "01110111"}[kind] + "0")
    extension = _Writer().put(8, 4).code({"I": "1" * 16, "P": "00010001" + "1" * 8, "b": "0001" * 4}[kind])
    extension.put(0, 2).put(field + 1, 2).code("0" * 10)
    found = [b"\0\0\1\0" + header.content(), b"\0\0\1\xb5" + extension.content()]
    rows: dict[int, _Writer] = {}
    for row, column, block in _macroblocks(planes):
        bits = rows.setdefault(row, _Writer().put(2, 5).put(0, 1))
        skips = kind == "P" and coded.kind == "P"
        if skips and column == _SKIPPED_COLUMN:
            continue
        bits.code("011" if skips and column == _SKIPPED_COLUMN + 1 else "1")
        bits.code("1" if kind == "I" else "00011" if kind == "P" else "00011")
        if column == 0 or (skips and column == _SKIPPED_COLUMN + 1):
            before = [128, 128, 128]
        _put_means(bits, block, before)
    return b"".join([*found, *(b"\0\0\1" + bytes([row + 1]) + bits.content() for row, bits in rows.items())])


def _put_means(bits: _Writer, block: list[np.ndarray], before: list[int]) -> None:
    """The mean of each block of 8 x 8, as the difference to the one before of its kind (7.2.1); updates `before`."""
    for plane, (pixels, sizes) in enumerate(zip(block, (_LUMA_SIZES, _CHROMA_SIZES, _CHROMA_SIZES), strict=True)):
        for top in range(0, pixels.shape[0], 8):
            for left in range(0, pixels.shape[1], 8):
                mean = round(float(pixels[top : top + 8, left : left + 8].mean()))
                difference, before[plane] = mean - before[plane], mean
                size = abs(difference).bit_length()
                bits.code(sizes[size])
                bits.put(difference if difference >= 0 else difference + (1 << size) - 1, size).code("10")
