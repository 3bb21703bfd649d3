"""What a container cuts off its coded pictures, which decoders do not know of.

These are Matroska's PixelCrop elements (RFC 9559, 5.1.4) and the clean aperture of MP4 and MOV (ISO 14496-12, 12.1.4),
which QuickTime and ffmpeg from 7.1 on cut to. FFmpeg keeps them beside the stream, where PyAV does not reach; they are
read from the file.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from fractions import Fraction

from av.video.stream import VideoStream

from tdn_data.pipeline.files import open_regular
from tdn_data.pipeline.video.matroska import VIDEO, elements, number, video_tracks
from tdn_data.pipeline.video.structure import MAX_MOVIE_BYTES, box_at, read_boxes, track_entry

_CROP_SIDES = (b"\x54\xbb", b"\x54\xaa", b"\x54\xcc", b"\x54\xdd")  # top, bottom, left, right
_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT = b"\x54\xb0", b"\x54\xba", b"\x54\xb2"
_ENTRY_SIZE_AT = 28  # width and height in a video's sample entry, counted from its kind
_ENTRY_BOXES_AT = 82


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
    names, place = stream.container.format.name, stream.container.streams.video.index(stream)
    with open_regular(path, what="video") as file:
        if "matroska" in names:
            track = next(iter(video_tracks(file)[place:]), {})
            return _video_crop(dict(elements(track.get(VIDEO, b""))))
        if "mov" in names:
            movie = next(read_boxes(file, b"moov", max_bytes=MAX_MOVIE_BYTES), b"")
            return _aperture_crop(track_entry(box_at(movie, b"moov"), stream.id)) if b"clap" in movie else NO_CROP
    return NO_CROP


def _video_crop(video: dict[bytes, bytes]) -> Crop:
    sides = [number(video.get(side)) for side in _CROP_SIDES]
    if not any(sides):
        return NO_CROP
    display = number(video.get(_DISPLAY_HEIGHT)), number(video.get(_DISPLAY_WIDTH))
    in_pixels = all(display) and not number(video.get(_DISPLAY_UNIT))
    return Crop(*sides, display_size=display if in_pixels else None)


def _aperture_crop(entry: bytes) -> Crop:
    """What lies outside the clean aperture of a video's sample entry, as FFmpeg rounds it; nothing where that is wrong.

    The aperture has a size and the offset of its middle from that of the picture, each as a fraction.
    """
    box = box_at(entry[_ENTRY_BOXES_AT:], b"clap")
    if len(box) < 32:
        return NO_CROP
    numbers = struct.unpack(">8i", box[:32])
    if min(numbers[1::2]) <= 0:
        return NO_CROP
    width, height, right_by, down_by = (Fraction(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True))
    full_width, full_height = struct.unpack_from(">2H", entry, _ENTRY_SIZE_AT)
    sides = (*_outside(full_height, height, down_by), *_outside(full_width, width, right_by))
    crop = Crop(*sides)
    return crop if min(sides) >= 0 and crop.fits(full_height, full_width) else NO_CROP


def _outside(full: int, kept: Fraction, middle: Fraction) -> tuple[int, int]:
    """Whole pixels before and after `kept` ones whose middle is `middle` pixels behind that of all.

    >>> _outside(480, Fraction(470), Fraction(1))
    (6, 4)
    """
    center, reach = Fraction(full - 1, 2) + middle, (kept - 1) / 2
    return int(center - reach) if center >= reach else -1, full - 1 - int(center + reach)
