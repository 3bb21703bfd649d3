"""What a container cuts off its coded pictures, which decoders do not know of: Matroska's PixelCrop elements.

FFmpeg keeps them beside the stream, where PyAV does not reach; they are read from the file (RFC 9559, section 5.1.4).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

from av.video.stream import VideoStream

from pipeline.files import open_regular
from pipeline.video.structure import SEGMENT, ebml_size

_TRACKS, _TRACK_ENTRY, _VIDEO = b"\x16\x54\xae\x6b", b"\xae", b"\xe0"
_TRACK_TYPE, _CODEC_ID = b"\x83", b"\x86"
_CROP_SIDES = (b"\x54\xbb", b"\x54\xaa", b"\x54\xcc", b"\x54\xdd")  # top, bottom, left, right
_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT = b"\x54\xb0", b"\x54\xba", b"\x54\xb2"
_VIDEO_TRACK = 1
_MAX_ELEMENTS = 100_000  # looked at in one file
_MAX_TRACKS_BYTES = 16 << 20


@dataclass(frozen=True)
class Crop:
    """Rows and columns cut off a coded picture, and the size that the container shows the rest at, if it says so."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0
    display_size: tuple[int, int] | None = None  # (height, width)

    def __bool__(self) -> bool:
        return any((self.top, self.bottom, self.left, self.right))

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of what is left of a picture."""
        return height - self.top - self.bottom, width - self.left - self.right

    def fits(self, height: int, width: int) -> bool:
        """Whether anything is left of a picture."""
        return min(self.size(height, width)) > 0


NO_CROP = Crop()


def container_crop(path: str | os.PathLike, stream: VideoStream) -> Crop:
    """What the container of `path` cuts off the pictures of `stream`."""
    if "matroska" not in stream.container.format.name:
        return NO_CROP
    number = stream.container.streams.video.index(stream)
    with open_regular(path, what="video") as file:
        content = _tracks(file, os.fstat(file.fileno()).st_size)
    tracks = (dict(_elements(entry)) for identifier, entry in _elements(content) if identifier == _TRACK_ENTRY)
    video = (track for track in tracks if _number(track.get(_TRACK_TYPE)) == _VIDEO_TRACK and _CODEC_ID in track)
    return _video_crop(dict(_elements(next(islice(video, number, None), {}).get(_VIDEO, b""))))


def _video_crop(video: dict[bytes, bytes]) -> Crop:
    sides = [_number(video.get(side)) for side in _CROP_SIDES]
    if not any(sides):
        return NO_CROP
    display = _number(video.get(_DISPLAY_HEIGHT)), _number(video.get(_DISPLAY_WIDTH))
    in_pixels = all(display) and not _number(video.get(_DISPLAY_UNIT))
    return Crop(*sides, display_size=display if in_pixels else None)


def _number(content: bytes | None) -> int:
    """An unsigned integer element's value, 0 where it is absent."""
    return int.from_bytes(content or b"", "big")


def _tracks(file: BinaryIO, num_bytes: int) -> bytes:
    """The content of the Tracks element; nothing where it cannot be found from the beginning."""
    position, end = 0, num_bytes
    for _ in range(_MAX_ELEMENTS):
        if position >= end:
            break
        file.seek(position)
        head = file.read(12)
        identifier, begin = _identifier(head)
        length, begin = ebml_size(head, begin)
        if identifier == SEGMENT:
            position += begin
        elif identifier == _TRACKS and length is not None:
            file.seek(position + begin)
            return file.read(min(length, _MAX_TRACKS_BYTES))
        elif length is None or not identifier:
            break
        else:
            position += begin + length
    return b""


def _elements(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(identifier, content) of the elements in `data`, one after another."""
    position = 0
    while position < len(data):
        identifier, begin = _identifier(data, position)
        length, begin = ebml_size(data, begin)
        if not identifier or length is None:
            return
        yield identifier, data[begin : begin + length]
        position = begin + length


def _identifier(data: bytes, position: int = 0) -> tuple[bytes, int]:
    """An EBML element's identifier, with its length marker, and where its size begins."""
    first = data[position] if position < len(data) else 0
    length = 9 - first.bit_length()
    return (data[position : position + length] if length <= 4 else b""), position + length
