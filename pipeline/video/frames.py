"""Frames of a video at chosen times, identical to those of a full decode."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import get_args

import av
import numpy as np
from av.container import InputContainer

from tdn_data.pipeline.errors import VideoError
from tdn_data.pipeline.limits import DEFAULT_MAX_PIXELS, MAX_FRAMES
from tdn_data.pipeline.sampling import FLOAT_NOISE_SECONDS, frames_at, grid_count, grid_times, grid_tolerance
from tdn_data.pipeline.video.batch import Decoding, Frame, FrameBatch
from tdn_data.pipeline.video.container import check_pixels, open_video, read_packets
from tdn_data.pipeline.video.convert import PIXEL_FORMATS, Converter, PixelFormat
from tdn_data.pipeline.video.decoder import TimelineMismatchError, decode_all, decode_runs, decode_timeline
from tdn_data.pipeline.video.geometry import shown_geometry
from tdn_data.pipeline.video.joined import part_left_out
from tdn_data.pipeline.video.missing import pause_words
from tdn_data.pipeline.video.packet_rows import PacketRows, read_rows, stamped
from tdn_data.pipeline.video.timeline import Timeline, packet_timeline

_MAX_ROUNDING_SECONDS = 1e-3
_SAMPLED_ROWS = 16  # every so many rows of a picture tell it from others


class GivenFramesError(VideoError):
    """Frames already handed out are not those of the full decode that took over; all are to be asked for again."""

    def __init__(self, path: object) -> None:
        message = f"{path}: frames already given differ from a full decode's; ask for them again with decoding='full'"
        super().__init__("corrupt", message, path=path)


class FrameStream(Iterator[Frame]):
    """The iterator that `iter_frames` returns; `decoding` and `note` are known once the first frame is out."""

    def __init__(self, source: FrameSource) -> None:
        self._source = source
        self._frames = _iterate(source)

    def __next__(self) -> Frame:
        return next(self._frames)

    def close(self) -> None:
        """Let go of the file; no more frames come."""
        self._frames.close()

    @property
    def decoding(self) -> Decoding:
        """Whether the whole stream was decoded to give these frames."""
        return self._source.decoding

    @property
    def note(self) -> str | None:
        """What of the file is not read at all, as a sentence; None where nothing is known of any."""
        return self._source.note


def iter_frames(
    path: str | os.PathLike,
    *,
    every_seconds: float | None = None,
    fps: float | None = None,
    timestamps: Sequence[float] | np.ndarray | None = None,
    size: tuple[int, int] | int | None = None,
    pixel_format: PixelFormat = "rgb24",
    max_pixels: int = DEFAULT_MAX_PIXELS,
    decoding: Decoding = "sparse",
    span: tuple[int, int] | None = None,
    with_next: bool = False,
) -> FrameStream:
    """Return the frames on screen at the times asked for, one by one; every frame once when no times are asked for.

    A frame comes again when it is still on screen at the next time; the last frame stays on screen. Nothing is
    deinterlaced.

    Args:
        path: a video file.
        every_seconds: asks for t = 0, s, 2 s, ... below the duration; or
        fps: for t = 0, 1/fps, 2/fps, ...; or
        timestamps: for these, in seconds, not falling.
        size: (height, width), or the shorter side alone with the aspect ratio kept; None for the shown size with
            square pixels.
        pixel_format: "rgb24" or "gray".
        max_pixels: larger pictures are not decoded.
        decoding: "sparse" decodes what is needed, and the whole of a stream that proves nothing.
        span: gives only those of the frames, from a place among them up to another.
        with_next: gives frames two by two, each distinct one and the video's own next one; the last has none, and is
            not given.

    Returns:
        an iterator over frames: `data` uint8 (H, W, 3) or (H, W), with their times and numbers.

    Raises:
        VideoError: behind the good frames, if some frames asked for (inside the span or not) could not be had.
        GivenFramesError: those already given turn out to be others than a full decode's; or a span is asked of a
            stream that proves nothing. Only the whole can be had then.
        ValueError: an option is out of range.

    >>> import tempfile
    >>> from tdn_data.pipeline.video import write_video
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_video(f"{folder}/a.mp4", np.zeros((10, 32, 48, 3), np.uint8), fps=5)
    ...     [frame.pts_seconds for frame in iter_frames(f"{folder}/a.mp4", fps=2)]
    [0.0, 0.4, 1.0, 1.4]
    """
    if decoding not in get_args(Decoding):
        raise ValueError(f"decoding is {decoding!r}; it must be one of {', '.join(get_args(Decoding))}")
    request = Request(every_seconds, fps, timestamps, size, pixel_format, max_pixels, span, with_next)
    return FrameStream(FrameSource(path, request, decoding=decoding))


def sample_frames(
    path: str | os.PathLike,
    *,
    every_seconds: float | None = None,
    fps: float | None = None,
    timestamps: Sequence[float] | np.ndarray | None = None,
    size: tuple[int, int] | int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> FrameBatch:
    """Return frames on screen at the times asked for, identical to those of a full decode; all without any times.

    Args:
        path: a video file.
        every_seconds: asks for t = 0, s, 2 s, ... below the duration; or
        fps: for t = 0, 1/fps, 2/fps, ...; or
        timestamps: for these, in seconds, not falling. The frame for a time t is the last with pts <= t.
        size: (height, width), or the shorter side alone with the aspect ratio kept; None for the shown size with
            square pixels.
        max_pixels: larger pictures are not decoded.

    Returns:
        the good frames, uint8 (N, H, W, 3) RGB, with their times; `problem` says why some are missing.

    Raises:
        VideoError: not one frame comes out.
        ValueError: an option is out of range, or two kinds of times are asked for.

    >>> import tempfile
    >>> from tdn_data.pipeline.video import write_video
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_video(f"{folder}/a.mp4", np.zeros((10, 32, 48, 3), np.uint8), fps=5)
    ...     batch = sample_frames(f"{folder}/a.mp4", every_seconds=1)
    >>> batch.data.shape, batch.pts_seconds.tolist(), batch.frame_index.tolist()
    ((2, 32, 48, 3), [0.0, 1.0], [0, 5])
    """
    source = FrameSource(path, Request(every_seconds, fps, timestamps, size, "rgb24", max_pixels))
    try:
        return _collect(source, source.from_packets())
    except TimelineMismatchError:
        return _collect(source, source.from_full_decode())


@dataclass(frozen=True)
class Request:
    """The options of `iter_frames`, checked."""

    every_seconds: float | None
    fps: float | None
    timestamps: Sequence[float] | np.ndarray | None
    size: tuple[int, int] | int | None
    pixel_format: PixelFormat
    max_pixels: int
    span: tuple[int, int] | None = None
    with_next: bool = False

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in ("every_seconds", "fps", "timestamps")}
        given = {name: value for name, value in given.items() if value is not None}
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are given together; at most one of them is allowed")
        for name in given.keys() & {"every_seconds", "fps"}:
            if not (math.isfinite(given[name]) and given[name] > 0):
                raise ValueError(f"{name} is {given[name]!r}; it must be a finite number above 0")
        if self.with_next and not given:
            raise ValueError("with_next is for frames at chosen times; give every_seconds, fps or timestamps")
        if self.timestamps is not None:
            times = np.asarray(self.timestamps, dtype=np.float64)
            if (
                times.ndim != 1
                or not len(times)
                or not np.isfinite(times).all()
                or (times < 0).any()
                or (np.diff(times) < 0).any()
            ):
                raise ValueError(f"timestamps is {self.timestamps!r}; it must hold seconds >= 0 that do not fall")
        sides = (self.size, self.size) if isinstance(self.size, int) else self.size
        if sides is not None and (len(sides) != 2 or min(sides) < 1):
            raise ValueError(f"size is {self.size!r}; it must be (height, width) or the shorter side, at least 1")
        if self.pixel_format not in PIXEL_FORMATS:
            raise ValueError(f"pixel_format is {self.pixel_format!r}; it must be one of {', '.join(PIXEL_FORMATS)}")
        if self.span is not None and not 0 <= self.span[0] < self.span[1]:
            raise ValueError(f"span is {self.span!r}; it must be (start, end) with 0 <= start < end")

    @property
    def is_every_frame(self) -> bool:
        """Whether no times are asked for."""
        return self.every_seconds is None and self.fps is None and self.timestamps is None


def select_frames(timeline: Timeline, request: Request, *, path: object = None) -> tuple[np.ndarray, int]:
    """Frames to deliver, int64, not falling, and how many there should be according to the announced duration.

    Raises VideoError("too_large") about `path` for more than MAX_FRAMES.
    """
    if request.is_every_frame:
        return np.arange(len(timeline.pts_seconds)), timeline.announced_frames
    if request.timestamps is not None:
        times, tolerance = np.asarray(request.timestamps, dtype=np.float64), FLOAT_NOISE_SECONDS
    else:
        times, tolerance = _grid(timeline, request, path), grid_tolerance(timeline.tick_seconds)
    frames = frames_at(timeline.pts_seconds, times, tolerance_seconds=tolerance)
    soon = tolerance + min(timeline.tick_seconds, _MAX_ROUNDING_SECONDS)  # both times may be rounded
    lost = timeline.gap_after[frames] & (times + soon >= timeline.leaves_seconds[frames])
    lost |= times + tolerance < timeline.pts_seconds[0]
    if request.with_next:
        return _with_next(frames[~lost], timeline, num_lost=int(lost.sum()))
    return frames[~lost], len(times)


def _with_next(frames: np.ndarray, timeline: Timeline, *, num_lost: int) -> tuple[np.ndarray, int]:
    """Each distinct frame and its next one, and how many frames that should be.

    frames 0 4 4 8 of 9, the one after 4 lost:  0 1 of 4, for 8 is the last
    """
    frames = np.unique(frames)
    due = frames[(frames + 1 < len(timeline.pts_seconds)) | timeline.gap_after[frames]]
    there = due[~timeline.gap_after[due]]
    return np.stack([there, there + 1], axis=1).ravel(), 2 * (len(due) + num_lost)


def _grid(timeline: Timeline, request: Request, path: object) -> np.ndarray:
    grid = {"every_seconds": request.every_seconds, "fps": request.fps, "tick_seconds": timeline.tick_seconds}
    count = grid_count(timeline.announced_seconds, **grid)
    if count > MAX_FRAMES:
        raise VideoError("too_large", f"{path}: {count:,} frames are asked for, {MAX_FRAMES:,} allowed", path=path)
    return grid_times(timeline.announced_seconds, **grid)


@dataclass
class FrameSource:
    """One request on one file. The counts and the timeline are known once the first frame is out."""

    path: str | os.PathLike
    request: Request
    num_expected: int = 0
    timeline: Timeline | None = None
    rows: PacketRows | None = None
    decoding: Decoding = "sparse"
    note: str | None = None
    num_outside: int = 0  # frames asked for that are not in the request's span

    def from_packets(self) -> Iterator[Frame]:
        """The frames, decoding only what they depend on. Raises TimelineMismatchError where that goes wrong."""
        with open_video(self.path, max_pixels=self.request.max_pixels) as (container, stream):
            rows = self._read(container, stream)
            timeline = packet_timeline(self.path, container, stream, rows, max_pixels=self.request.max_pixels)
            if timeline is None:
                raise TimelineMismatchError("the packets' timestamps are not to be believed")
            selected = self._select(timeline)
            with self._packets_again() as packets:
                pictures = decode_runs(stream.codec_context, packets, timeline, _with_first(selected))
                yield from self._deliver(pictures, selected, stream)

    def from_full_decode(self) -> Iterator[Frame]:
        """The frames, decoding everything twice: once for the timeline, once for the pictures."""
        self.decoding, limit = "full", self.request.max_pixels
        rows = self._known_rows()
        timeline = decode_timeline(self.path, rows, max_pixels=limit)
        selected = self._select(timeline)
        with open_video(self.path, max_pixels=limit) as (container, stream):
            outputs = (
                picture for picture in decode_all(container, stream, rows, max_pixels=limit) if picture is not None
            )
            frame_of = {int(timeline.outputs[index]): index for index in _with_first(selected).tolist()}
            pictures = ((frame_of[place], picture) for place, picture in enumerate(outputs) if place in frame_of)
            yield from self._deliver(pictures, selected, stream)

    def problem(self, num_frames: int) -> VideoError | None:
        """Why only `num_frames` came out; None when that is all."""
        lacks_end = self.rows is not None and self.rows.lacks_end
        if num_frames >= self.num_expected and lacks_end:
            message = f"{self.path}: {num_frames} frames, the file is cut off; how many it had is not known"
            return VideoError("truncated", message, path=self.path)
        if num_frames >= self.num_expected and self.rows is not None and self.rows.lacks_beginning:
            message = f"{self.path}: {num_frames} frames, the beginning is missing; how many it had is not known"
            return VideoError("corrupt", message, path=self.path)
        if num_frames >= self.num_expected and self.rows is not None and self.rows.has_wrong_sum:
            message = (
                f"{self.path}: {num_frames} frames, some of which may be spoiled: a check sum of the file is wrong"
            )
            return VideoError("corrupt", message, path=self.path)
        if num_frames >= self.num_expected:
            return None
        reason, what = (
            ("truncated", "the file is cut off")
            if self.rows.cut_off or lacks_end
            else ("corrupt", "the others are missing or do not decode")
        )
        if self.timeline is not None and self.timeline.met_too_large:
            reason, what = "too_large", "the others are larger than allowed or do not decode"
        message = f"{self.path}: {num_frames} of {self.num_expected} frames, {what}"
        return VideoError(reason, message, path=self.path)

    @contextmanager
    def _packets_again(self) -> Iterator[Iterator[av.Packet]]:
        """The packets as they were kept, or else from the file once more."""
        if self.rows.packets is not None:
            yield iter(self.rows.packets)
            return
        with open_video(self.path, max_pixels=self.request.max_pixels) as (container, stream):
            yield stamped(read_packets(container, stream), self.rows.pts)

    def _known_rows(self) -> PacketRows:
        if self.rows is None:
            with open_video(self.path, max_pixels=self.request.max_pixels) as (container, stream):
                self._read(container, stream)
        return self.rows

    def _read(self, container: InputContainer, stream: av.VideoStream) -> PacketRows:
        self.rows = read_rows(self.path, container, stream, max_pixels=self.request.max_pixels)
        self.note = part_left_out(self.path, container, stream) or pause_words(self.rows, stream) or self._end_words()
        return self.rows

    def _end_words(self) -> str | None:
        if self.rows.is_torn:
            return "bytes of the file are missing or make no sense: pictures may be missing there"
        if self.rows.ends_unmarked:
            return "the mark of the file's end is missing, as in recordings of live streams: more may be missing"
        if self.rows.begins_in_the_middle and self.rows.resumes.any():
            return "the file begins between two key pictures, as recordings do: the first pictures may be missing"
        return None

    def _select(self, timeline: Timeline) -> np.ndarray:
        selected, self.num_expected = select_frames(timeline, self.request, path=self.path)
        self.timeline = timeline
        inside = selected if self.request.span is None else selected[slice(*self.request.span)]
        self.num_outside = len(selected) - len(inside)
        return inside

    def _deliver(
        self, pictures: Iterator[tuple[int, av.VideoFrame]], selected: np.ndarray, stream: av.VideoStream
    ) -> Iterator[Frame]:
        """One Frame per entry of `selected`; `pictures` holds each distinct one, in the same order.

        Before them comes the video's first picture, which decides the geometry.
        """
        pts_seconds = self.timeline.pts_seconds
        stays_seconds = self.timeline.leaves_seconds - pts_seconds
        convert, position, indices = None, 0, selected.tolist()
        for index, picture in pictures:
            if convert is None:
                convert = self._converter(picture, stream)
                if index not in indices[:1]:
                    continue
            if index != indices[position]:
                raise TimelineMismatchError(f"frame {index} came where frame {indices[position]} was due")
            frame = Frame(convert(picture), float(pts_seconds[index]), index, float(stays_seconds[index]))
            while position < len(indices) and indices[position] == index:
                yield frame
                position += 1

    def _converter(self, picture: av.VideoFrame, stream: av.VideoStream) -> Converter:
        request = self.request
        geometry = shown_geometry(picture, stream, self.path, size=request.size)
        check_pixels(geometry.height * geometry.width, max_pixels=request.max_pixels, path=self.path)
        return Converter(geometry, request.pixel_format)


def _with_first(selected: np.ndarray) -> np.ndarray:
    """The distinct frames of `selected` and before them frame 0, if there are any."""
    return np.unique(np.append(0, selected)) if len(selected) else selected


def _iterate(source: FrameSource) -> Iterator[Frame]:
    given: list[tuple[int, float, int]] = []
    try:
        for frame in source.from_packets() if source.decoding == "sparse" else source.from_full_decode():
            given.append(_identity(frame))
            yield frame
    except TimelineMismatchError as error:
        if source.request.span is not None:
            raise GivenFramesError(source.path) from error
        yield from _from_full_decode_after(source, given)
    problem = source.problem(len(given) + source.num_outside)
    if problem is not None:
        raise problem


def _from_full_decode_after(source: FrameSource, given: list[tuple[int, float, int]]) -> Iterator[Frame]:
    """What comes after the frames `given`, to which it is added; GivenFramesError unless a full decode gives those."""
    frames = source.from_full_decode()
    if [_identity(frame) for frame in islice(frames, len(given))] != given:
        raise GivenFramesError(source.path)
    for frame in frames:
        given.append(_identity(frame))
        yield frame


def _identity(frame: Frame) -> tuple[int, float, int]:
    """Number, time and a checksum of every sixteenth row: what two equal frames share."""
    return frame.frame_index, frame.pts_seconds, zlib.crc32(frame.data[::_SAMPLED_ROWS].tobytes())


def _collect(source: FrameSource, frames: Iterator[Frame]) -> FrameBatch:
    data, pts_seconds, indices, stays = None, [], [], []
    for frame in frames:
        if data is None:
            data = _allocate((source.num_expected, *frame.data.shape), path=source.path)
        data[len(indices)] = frame.data
        pts_seconds.append(frame.pts_seconds)
        indices.append(frame.frame_index)
        stays.append(frame.duration_seconds)
    problem = source.problem(len(indices))
    if data is None:
        raise problem or VideoError("no_frames", f"{source.path}: no times were asked for", path=source.path)
    return FrameBatch(
        data=data[: len(indices)],
        pts_seconds=np.array(pts_seconds, dtype=np.float64),
        frame_index=np.array(indices, dtype=np.int64),
        duration_seconds=np.array(stays, dtype=np.float64),
        problem=problem,
        num_expected=source.num_expected,
        decoding=source.decoding,
        note=source.note,
    )


def _allocate(shape: tuple[int, ...], *, path: object) -> np.ndarray:
    try:
        return np.empty(shape, dtype=np.uint8)
    except MemoryError as error:
        message = f"{path}: {math.prod(shape):,} bytes of frames do not fit into memory; use iter_frames"
        raise VideoError("too_large", message, path=path) from error
