"""Decoded pictures to arrays: colour, crop, size and orientation in one place.

At the coded size with square pixels, swscale's plain conversion is used: the same numbers that PyAV's `to_ndarray`,
torchcodec and ffmpeg give. When the size changes, swscale averages areas (and interpolates linearly when enlarging)
with its accurate and bit-exact code, whose result does not depend on the processor's instruction set. Grey is always
full range, 0 black to 255 white. Matrix (BT.601, BT.709, BT.2020) and range (limited, full) are the frame's own;
unmarked frames count as BT.601 limited. Interlaced pictures stay as they are stored.
"""

from __future__ import annotations

from typing import Literal

import av
import av.filter
import numpy as np
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from tdn_data.pipeline.video.geometry import Geometry, source

PixelFormat = Literal["rgb24", "gray"]
PIXEL_FORMATS = ("rgb24", "gray")
_SAME_SIZE = Interpolation.BILINEAR
_RESIZE = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


class Converter:
    """Turns the pictures of one video into arrays.

    Memory decides the speed here. A large block that is freed and allocated again for each picture is handed back to
    the system and faulted in page by page, up to 40 % of the time, and its holes fill up with whatever small things the
    caller keeps. So the common case runs through a filter graph, whose buffers go round, and all else is copied out.
    """

    def __init__(self, geometry: Geometry, pixel_format: PixelFormat = "rgb24") -> None:
        self.geometry = geometry
        self.pixel_format = pixel_format
        self._reformatter = VideoReformatter()
        self._graph: av.filter.Graph | None = None
        self._graph_input: tuple | None = None
        self._coded_size: tuple[int, int] | None = None

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """The picture as shown: uint8 (H, W, 3) RGB or (H, W) grey, contiguous."""
        frame = self._cropped(frame)
        same_size = (frame.height, frame.width) == (self.geometry.height, self.geometry.width)
        if same_size and self.pixel_format == "rgb24" and _is_plain(frame):
            array = self._through_graph(frame)
        else:
            array = self._reformatted(frame, _SAME_SIZE if same_size else _RESIZE).copy()
        if self.geometry.rotation:
            array = np.rot90(array, k=-self.geometry.rotation // 90)
        if self.geometry.mirrored:
            array = array[:, ::-1]
        return np.ascontiguousarray(array)

    def _cropped(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The picture without what the container cuts off; pictures of another size than the first stay whole."""
        self._coded_size = self._coded_size or (frame.height, frame.width)
        crop = self.geometry.crop
        if not crop or (frame.height, frame.width) != self._coded_size:
            return frame
        height, width = crop.size(frame.height, frame.width)
        graph = av.filter.Graph()
        cut = graph.add("crop", f"{width}:{height}:{crop.left}:{crop.top}:exact=1")
        graph.link_nodes(source(graph, frame), cut, graph.add("buffersink")).configure()
        graph.vpush(frame)
        return graph.vpull()

    def _reformatted(self, frame: av.VideoFrame, interpolation: Interpolation) -> np.ndarray:
        height, width = self.geometry.height, self.geometry.width
        options = {"interpolation": interpolation, "dst_color_range": ColorRange.JPEG, "threads": 1}
        converted = self._reformatter.reformat(frame, width, height, self.pixel_format, **options)
        return converted.to_ndarray()

    def _through_graph(self, frame: av.VideoFrame) -> np.ndarray:
        properties = (frame.format.name, frame.colorspace, frame.color_range)
        if self._graph_input != properties:
            self._graph, self._graph_input = _rgb_graph(frame), properties
        self._graph.vpush(frame)
        return self._graph.vpull().to_ndarray()


def _is_plain(frame: av.VideoFrame) -> bool:
    """Whether a filter's conversion equals `to_ndarray` to the bit: where chroma is repeated and not interpolated."""
    even = frame.height % 2 == 0 and frame.width % 2 == 0
    return even and frame.format.name in ("yuv420p", "yuvj420p") and not frame.interlaced_frame


def _rgb_graph(frame: av.VideoFrame) -> av.filter.Graph:
    graph = av.filter.Graph()
    graph.threads = 1
    scale = graph.add("scale", "flags=bilinear")
    graph.link_nodes(source(graph, frame), scale, graph.add("format", "rgb24"), graph.add("buffersink")).configure()
    return graph
