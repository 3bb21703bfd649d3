"""What a container cuts off its coded pictures, which decoders do not know of: Matroska's PixelCrop elements.

FFmpeg keeps them beside the stream, where PyAV does not reach; they are read from the file (RFC 9559, section 5.1.4).
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from av.video.stream import VideoStream

from pipeline.files import open_regular
from pipeline.video.matroska import VIDEO, elements, number, video_tracks

_CROP_SIDES = (b"\x54\xbb", b"\x54\xaa", b"\x54\xcc", b"\x54\xdd")  # top, bottom, left, right
_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT = b"\x54\xb0", b"\x54\xba", b"\x54\xb2"


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
    place = stream.container.streams.video.index(stream)
    with open_regular(path, what="video") as file:
        track = next(iter(video_tracks(file)[place:]), {})
    return _video_crop(dict(elements(track.get(VIDEO, b""))))


def _video_crop(video: dict[bytes, bytes]) -> Crop:
    sides = [number(video.get(side)) for side in _CROP_SIDES]
    if not any(sides):
        return NO_CROP
    display = number(video.get(_DISPLAY_HEIGHT)), number(video.get(_DISPLAY_WIDTH))
    in_pixels = all(display) and not number(video.get(_DISPLAY_UNIT))
    return Crop(*sides, display_size=display if in_pixels else None)
