"""How a video's coded pictures become shown ones: cropped, scaled to square pixels, turned and mirrored.

It is decided once, by the first shown picture and the container, and holds for the whole video: whichever frames are
asked for, and whatever size or orientation later pictures have.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from fractions import Fraction

import av
import av.filter
from av.sidedata.sidedata import Type
from av.video.stream import VideoStream

from tdn_data.pipeline.video.cropping import NO_CROP, Crop, container_crop

_MAX_SIDE_DATA_TYPES = 64  # FFmpeg 8 has 32 kinds of side data of a frame; PyAV knows the first 28


@dataclass(frozen=True)
class Geometry:
    """Crop the coded picture, scale it to (height, width), turn it clockwise, then mirror it left to right."""

    height: int  # of the scaled picture, before it is turned
    width: int
    rotation: int  # degrees clockwise: 0, 90, 180, 270
    mirrored: bool = False
    crop: Crop = NO_CROP

    @property
    def shown_size(self) -> tuple[int, int]:
        """(height, width) after turning."""
        return (self.width, self.height) if self.rotation in (90, 270) else (self.height, self.width)


def shown_geometry(
    frame: av.VideoFrame,
    stream: VideoStream,
    path: str | os.PathLike,
    *,
    size: tuple[int, int] | int | None = None,
) -> Geometry:
    """Geometry of the video whose first shown picture is `frame`.

    `size` = (height, width), or square pixels by stretching the short side. An integer `size` is the length of the
    shorter side, with square pixels; the longer is rounded to whole pixels.
    """
    rotation, mirrored = orientation(frame)
    crop = container_crop(path, stream)
    crop = crop if crop.fits(frame.height, frame.width) else NO_CROP
    if size is not None and not isinstance(size, int):
        height, width = size if rotation in (0, 180) else (size[1], size[0])
    else:
        exact = _square_size(frame, crop, pixel_aspect(stream))
        scale = 1 if size is None else size / min(exact)
        height, width = (max(round(side * scale), 1) for side in exact)
    return Geometry(height, width, rotation, mirrored, crop)


def pixel_aspect(stream: VideoStream) -> Fraction:
    """Width of a coded pixel over its height; 1 where the stream does not say."""
    return stream.sample_aspect_ratio or Fraction(1)


def orientation(frame: av.VideoFrame) -> tuple[int, bool]:
    """Degrees clockwise to turn a picture by, 0, 90, 180 or 270, and whether it is mirrored left to right afterwards.

    A display matrix maps (x, y) to (a x + c y, b x + d y), y downwards; it is brought to the nearest quarter turn.
    Mirrored upside down is turned by 180 degrees and mirrored; transposed is turned by 90 and mirrored.
    """
    a, b, c, d = _display_matrix(frame)
    mirrored = a * d - b * c < 0
    return round(math.degrees(math.atan2(b, -a if mirrored else a)) / 90) % 4 * 90, mirrored


def _display_matrix(frame: av.VideoFrame) -> tuple[int, int, int, int]:
    """a, b, c, d of the frame's first display matrix; those of no change where it has none."""
    for data in _side_data(frame):
        if data.type == Type.DISPLAYMATRIX:
            a, b, _, c, d = memoryview(data).cast("B").cast("i").tolist()[:5]
            return a, b, c, d
    return 1, 0, 0, 1


def _side_data(frame: av.VideoFrame) -> list:
    """The frame's side data. PyAV fails on kinds that it does not know, such as EXIF: those are taken away."""
    try:
        return list(frame.side_data)
    except ValueError:
        known = {kind.value for kind in Type}
        graph = av.filter.Graph()
        unknown = [kind for kind in range(_MAX_SIDE_DATA_TYPES) if kind not in known]
        deleting = [graph.add("sidedata", f"mode=delete:type={kind}") for kind in unknown]
        graph.link_nodes(source(graph, frame), *deleting, graph.add("buffersink")).configure()
        graph.vpush(frame)
        return list(graph.vpull().side_data)


def source(graph: av.filter.Graph, frame: av.VideoFrame) -> av.filter.context.FilterContext:
    """A filter graph's input for frames like `frame`."""
    time_base = frame.time_base or Fraction(1, 1000)
    return graph.add_buffer(width=frame.width, height=frame.height, format=frame.format.name, time_base=time_base)


def _square_size(frame: av.VideoFrame, crop: Crop, aspect: Fraction) -> tuple[Fraction, Fraction]:
    """(height, width) with square pixels before rounding; what a container crops is shown at its display size."""
    if crop.display_size is not None:
        return Fraction(crop.display_size[0]), Fraction(crop.display_size[1])
    height, width = (Fraction(side) for side in crop.size(frame.height, frame.width))
    return (height, width * aspect) if aspect > 1 else (height / aspect, width)
