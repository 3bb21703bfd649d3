"""Clips of every kind, encoded on the spot, and a plain full decode to compare with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

MakeClip = Callable[..., Path]


def moving_pictures(num_frames: int, *, height: int = 64, width: int = 96, seed: int = 0) -> np.ndarray:
    """uint8 (T, H, W, 3): a coarse random texture that slides, so that no two pictures are alike."""
    texture = np.random.default_rng(seed).integers(0, 256, (height // 8 + 2, (width + 3 * num_frames) // 8 + 2, 3))
    texture = texture.astype(np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    return np.stack([texture[:height, 3 * number : 3 * number + width] for number in range(num_frames)])


@pytest.fixture
def make_clip(tmp_path: Path) -> MakeClip:
    """make_clip(name, codec=..., pts=..., ...) -> Path of a new clip; the container follows from the name."""

    def make(
        name: str,
        *,
        codec: str = "libx264",
        num_frames: int = 60,
        fps: int = 25,
        pts: list[int] | None = None,
        options: dict[str, str] | None = None,
        pixel_format: str = "yuv420p",
        size: tuple[int, int] = (64, 96),
        container_options: dict[str, str] | None = None,
        container_format: str | None = None,
        pixel_aspect: Fraction | None = None,
        max_b_frames: int | None = None,
        matrix: tuple[int, int, int, int] | None = None,  # a, b, c, d of a display matrix
    ) -> Path:
        path = tmp_path / name
        pictures = moving_pictures(num_frames, height=size[0], width=size[1])
        stamps = pts or list(range(num_frames))
        with av.open(f"file:{path}", "w", format=container_format, options=container_options or {}) as container:
            stream = container.add_stream(codec, rate=fps, options=options or {})
            stream.height, stream.width, stream.pix_fmt = *size, pixel_format
            stream.codec_context.time_base = Fraction(1, fps)
            stream.codec_context.thread_count = 1
            if pixel_aspect is not None:
                stream.codec_context.sample_aspect_ratio = pixel_aspect
            if max_b_frames is not None:
                stream.codec_context.max_b_frames = max_b_frames
            if matrix is not None:
                a, b, c, d = (value << 16 for value in matrix)
                stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
            for picture, stamp in zip(pictures, stamps, strict=True):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = stamp, Fraction(1, fps)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return make


def _remux(source: Path, target: Path, *, shift_seconds: float = 0.0, options: dict[str, str] | None = None) -> Path:
    """Copy the packets of `source` into another container, all timestamps moved by `shift_seconds`."""
    with av.open(str(source)) as reader, av.open(str(target), "w", options=options or {}) as writer:
        stream = reader.streams.video[0]
        copy = writer.add_stream_from_template(stream)
        shift = round(shift_seconds / stream.time_base)
        for packet in reader.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                packet.stream = copy
                writer.mux(packet)
    return target


@dataclass(frozen=True)
class PlainDecode:
    """Every picture of a file as PyAV gives it, without any cleverness."""

    pictures: list[av.VideoFrame]
    pts_seconds: np.ndarray  # from the first picture

    def index_at(self, times: np.ndarray) -> list[int]:
        """The last picture with pts <= t, for each t."""
        later = np.searchsorted(self.pts_seconds, np.asarray(times) + 1e-6, side="right")
        return np.maximum(later - 1, 0).tolist()

    def rgb(self, index: int) -> np.ndarray:
        """uint8 (H, W, 3), upright."""
        picture = self.pictures[index]
        return np.rot90(picture.to_ndarray(format="rgb24", threads=1), k=round(picture.rotation / 90))


def _decode_plainly(path: Path, *, fps: float | None = None) -> PlainDecode:
    """Decode everything; times are the pictures' own, or k / fps where `fps` is given."""
    with av.open(str(path), metadata_errors="replace") as container:
        stream = container.streams.best("video")
        stream.codec_context.thread_count = 1
        pictures = list(container.decode(stream))
    if fps is not None:
        return PlainDecode(pictures, np.arange(len(pictures)) / fps)
    tick = stream.time_base
    ticks = np.array([picture.pts - pictures[0].pts for picture in pictures], dtype=np.int64)
    return PlainDecode(pictures, ticks * tick.numerator / tick.denominator)


def _assert_same_frames(path: Path, plain: PlainDecode, times: np.ndarray) -> None:
    """sample_frames(path, timestamps=times) against the plain decode: indices, times and every pixel."""
    from tdn_data.pipeline.video import sample_frames

    batch = sample_frames(path, timestamps=times)
    expected = plain.index_at(times)
    assert batch.problem is None
    assert batch.num_expected == len(times)
    assert batch.frame_index.tolist() == expected
    np.testing.assert_allclose(batch.pts_seconds, plain.pts_seconds[expected], rtol=0, atol=1e-9)
    for data, index in zip(batch.data, expected, strict=True):
        picture = plain.rgb(index)
        if data.shape == picture.shape:  # otherwise the pixels are not square, which has its own test
            np.testing.assert_array_equal(data, picture)


@pytest.fixture(scope="session")
def remux() -> Callable[..., Path]:
    """See `_remux`."""
    return _remux


@pytest.fixture(scope="session")
def decode_plainly() -> Callable[..., PlainDecode]:
    """See `_decode_plainly`."""
    return _decode_plainly


@pytest.fixture(scope="session")
def assert_same_frames() -> Callable[..., None]:
    """See `_assert_same_frames`."""
    return _assert_same_frames


@pytest.fixture
def quiet_decoders():
    """FFmpeg writes a line about each damaged picture."""
    level = av.logging.get_level()
    av.logging.set_level(av.logging.PANIC)
    yield
    av.logging.set_level(level)
