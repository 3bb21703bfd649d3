"""Finished files changed byte by byte: time stamps taken away, samples emptied, headers that say something else."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import av

_PACKET_BYTES = 188
_STUFFING = b"\xff"


def strip_stamps(path: Path, kept: Callable[[int], str]) -> None:
    """Take stamps from the pictures' PES headers of a transport or program stream: `kept` of each is both, pts or none.

    What they took up becomes stuffing (ISO 13818-1, 2.4.3.7).
    """
    data = bytearray(path.read_bytes())
    headers = list(_transport_headers(data) if path.suffix == ".ts" else _program_headers(data))
    for number, begin in enumerate(headers):
        flags, keep = data[begin + 7] >> 6, kept(number)
        if keep == "none" and flags:
            data[begin + 7] &= 0x3F
            _stuff(data, begin + 9, 10 if flags == 3 else 5)
        elif keep == "pts" and flags == 3:
            data[begin + 7] = data[begin + 7] & 0x3F | 0x80
            data[begin + 9] = data[begin + 9] & 0x0F | 0x20
            _stuff(data, begin + 14, 5)
    path.write_bytes(data)


def _stuff(data: bytearray, begin: int, length: int) -> None:
    data[begin : begin + length] = _STUFFING * length


def _transport_headers(data: bytearray) -> Iterator[int]:
    for begin in range(0, len(data), _PACKET_BYTES):
        payload = begin + 4 + (1 + data[begin + 4] if data[begin + 3] & 0x20 else 0)
        if data[begin + 1] & 0x40 and re.match(rb"\x00\x00\x01[\xe0-\xef]", data[payload : payload + 4]):
            yield payload


def _program_headers(data: bytearray) -> Iterator[int]:
    return (found.start() for found in re.finditer(rb"\x00\x00\x01[\xe0-\xef]", data))


def empty_mp4_sample(path: Path, number: int) -> None:
    """Take the bytes of sample `number` out of an MP4 whose index is at its end; the sample stays, of size 0."""
    data = path.read_bytes()
    table = data.index(b"stsz") + 16
    sizes = list(struct.unpack_from(f">{struct.unpack_from('>I', data, table - 4)[0]}I", data, table))
    offsets_at = data.index(b"stco") + 12
    offsets = list(struct.unpack_from(f">{struct.unpack_from('>I', data, offsets_at - 4)[0]}I", data, offsets_at))
    assert len(offsets) == 1, "all samples are in one chunk"
    begin, length = offsets[0] + sum(sizes[:number]), sizes[number]
    sizes[number] = 0
    media = data.index(b"mdat") - 4
    changed = bytearray(data)
    struct.pack_into(f">{len(sizes)}I", changed, table, *sizes)
    struct.pack_into(">I", changed, media, struct.unpack_from(">I", data, media)[0] - length)
    path.write_bytes(changed[:begin] + changed[begin + length :])


def empty_matroska_block(path: Path, number: int) -> None:
    """Take the bytes out of SimpleBlock `number` of a Matroska file; it stays, and a Void element takes up the room."""
    with av.open(str(path)) as container:
        payload = [bytes(packet) for packet in container.demux(video=0) if packet.size][number]
    data = path.read_bytes()
    end = data.index(payload) + len(payload)
    head = end - len(payload) - 4  # behind the identifier and size: track, time and flags
    begin = data.rindex(b"\xa3", head - 5, head)
    room = end - begin - 6 - 9
    void = b"\xec\x01" + room.to_bytes(7, "big") + bytes(room)
    data = data[:begin] + b"\xa3\x84" + data[head : head + 4] + void + data[end:]
    path.write_bytes(re.sub(rb"(?s)(?<=\x1f\x43\xb6\x75)(.{1,8}?)\xbf\x84", b"\\1\xec\x84", data))  # no check sums


def scale_number(path: Path, marker: bytes, form: str, factor: float, *, behind: int) -> None:
    """Multiply the number of struct form `form` that comes `behind` bytes after `marker`."""
    data = bytearray(path.read_bytes())
    place = data.index(marker) + len(marker) + behind
    (value,) = struct.unpack_from(form, data, place)
    struct.pack_into(form, data, place, value * factor if form[-1] in "df" else int(value * factor))
    path.write_bytes(data)


HEADER_NUMBERS = {  # name: container, marker, form and place of the number
    "mp4-movie-duration": ("mp4", b"mvhd", ">I", 16),
    "mp4-track-duration": ("mp4", b"tkhd", ">I", 20),
    "mp4-media-duration": ("mp4", b"mdhd", ">I", 16),
    "mov-media-duration": ("mov", b"mdhd", ">I", 16),
    "avi-frames": ("avi", b"avih", "<I", 20),
    "avi-length": ("avi", b"vids", "<I", 28),
    "avi-frame-time": ("avi", b"avih", "<I", 4),
    "mkv-duration": ("mkv", b"\x44\x89\x88", ">d", 0),
    "flv-duration": ("flv", b"\x08duration\x00", ">d", 0),
    "flv-rate": ("flv", b"framerate\x00", ">d", 0),
    "asf-play-time": ("asf", bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"), "<Q", 48),
    "asf-packets": ("asf", bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"), "<Q", 40),
    "ivf-frames": ("ivf", b"DKIF", "<I", 20),
}
