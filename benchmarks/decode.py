"""Decoding, ours against a full PyAV decode and against torchcodec, in one interleaved run on one thread.

Cases: `sparse` takes one frame per `every_seconds`; `every frame`, `15 fps` and `30 fps` are dense. Before any time
counts, all decoders must have given the same frames, pixel for pixel.
"""

from __future__ import annotations

import importlib.metadata
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tdn_data.pipeline.video import VideoInfo, expected_times, iter_frames, probe, sample_frames

DENSE_FPS = (15, 30)


@dataclass(frozen=True)
class DecodeTimes:
    """Best processor time of each case and decoder over all rounds, in seconds."""

    path: str
    num_sparse_frames: int
    num_frames: int
    seconds: dict[str, dict[str, float]]  # case -> decoder -> seconds; decoders: ours, pyav, torchcodec
    versions: dict[str, str]

    @property
    def ratios(self) -> dict[str, float]:
        """How many times as fast ours is, by "case vs decoder"."""
        return {
            f"{case} vs {peer}": seconds / times["ours"]
            for case, times in self.seconds.items()
            for peer, seconds in times.items()
            if peer != "ours"
        }


def run(path: str | os.PathLike, *, every_seconds: float = 3.0, num_rounds: int = 3, dense: bool = True) -> DecodeTimes:
    """Check that the decoders agree on `path`, then time them in turn, `num_rounds` times.

    torchcodec takes part where it can be imported. Raises ValueError where a decoder gives other frames than ours.
    """
    info = probe(path)
    times = expected_times(info, every_seconds=every_seconds)
    cases = {"sparse": _sparse_decoders(path, every_seconds, times)}
    _check_agreement(cases["sparse"])
    if dense:
        cases |= _dense_decoders(path, info)
        for decoders in (cases[case] for case in cases if case != "sparse"):
            _check_agreement(decoders)
    seconds = {case: dict.fromkeys(decoders, float("inf")) for case, decoders in cases.items()}
    for _ in range(num_rounds):
        for case, decoders in cases.items():
            for name, decode in decoders.items():
                seconds[case][name] = min(seconds[case][name], _processor_seconds(decode))
    num_frames = info.num_frames or round(info.duration_seconds * info.fps)
    return DecodeTimes(str(path), len(times), num_frames, seconds, _versions())


def format_times(result: DecodeTimes) -> str:
    """The result as lines of text: seconds, ratios, versions."""
    lines = [f"{result.path}: {result.num_frames} frames, of which sparse takes {result.num_sparse_frames}"]
    for case, times in result.seconds.items():
        lines.append(f"  {case:12}" + "".join(f"  {name} {seconds:.3f} s" for name, seconds in times.items()))
    lines += [f"  {name}: {ratio:.2f} times as fast" for name, ratio in result.ratios.items()]
    lines.append("  " + ", ".join(f"{name} {version}" for name, version in result.versions.items()))
    return "\n".join(lines)


def _sparse_decoders(path: str | os.PathLike, every_seconds: float, times: np.ndarray) -> dict[str, Callable]:
    decoders = {
        "ours": lambda: sample_frames(path, every_seconds=every_seconds).data,
        "pyav": lambda: _full_decode_at(path, times),
    }
    if torchcodec_decoders() is not None:
        decoders["torchcodec"] = lambda: _torchcodec_at(path, times)
    return decoders


def _dense_decoders(path: str | os.PathLike, info: VideoInfo) -> dict[str, dict[str, Callable]]:
    cases = {"every frame": {"ours": lambda: _digest_ours(path), "pyav": lambda: _digest_pyav(path, step=1)}}
    for fps in DENSE_FPS:
        if (info.fps / fps).is_integer():  # PyAV has no clock of its own: it takes each n-th frame
            cases[f"{fps} fps"] = {
                "ours": lambda fps=fps: _digest_ours(path, fps=fps),
                "pyav": lambda fps=fps: _digest_pyav(path, step=int(info.fps / fps)),
            }
    return cases


def _full_decode_at(path: str | os.PathLike, times: np.ndarray) -> np.ndarray:
    """The frames at `times` by decoding all of them, (N, H, W, 3)."""
    taken, shown, position = [], None, 0
    for picture in _pyav_pictures(path):
        while shown is not None and position < len(times) and times[position] + 1e-6 < picture.time:
            taken.append(shown.to_ndarray(format="rgb24", threads=1))
            position += 1
        shown = picture
    taken += [shown.to_ndarray(format="rgb24", threads=1)] * (len(times) - position)
    return np.stack(taken)


def _pyav_pictures(path: str | os.PathLike):
    import av

    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        stream.codec_context.thread_count = 1
        yield from container.decode(stream)


def _torchcodec_at(path: str | os.PathLike, times: np.ndarray) -> np.ndarray:
    decoder = torchcodec_decoders().VideoDecoder(str(path), num_ffmpeg_threads=1, dimension_order="NHWC")
    return decoder.get_frames_played_at(times.tolist()).data.numpy()


def torchcodec_decoders():
    """torchcodec.decoders, or None where it or FFmpeg's libraries are not installed."""
    try:
        import torchcodec.decoders
    except (ImportError, OSError, RuntimeError):
        return None
    return torchcodec.decoders


def _digest_ours(path: str | os.PathLike, **grid: float) -> np.ndarray:
    return _digest(frame.data for frame in iter_frames(path, **grid))


def _digest_pyav(path: str | os.PathLike, *, step: int) -> np.ndarray:
    pictures = (picture for number, picture in enumerate(_pyav_pictures(path)) if number % step == 0)
    return _digest(picture.to_ndarray(format="rgb24", threads=1) for picture in pictures)


def _digest(images) -> np.ndarray:
    """One row of pixels from each frame: enough to compare, cheap enough not to count."""
    return np.stack([image[image.shape[0] // 2].copy() for image in images])


def _check_agreement(decoders: dict[str, Callable[[], np.ndarray]]) -> None:
    ours = decoders["ours"]()
    for name, decode in decoders.items():
        theirs = decode()
        if ours.shape[-2] != theirs.shape[-2]:
            raise ValueError(
                f"{name} shows {theirs.shape[-2]} columns where ours shows {ours.shape[-2]}, as players do: its "
                "pixels are not square, or it is turned; measure another one"
            )
        if ours.shape != theirs.shape or not np.array_equal(ours, theirs):
            raise ValueError(f"{name} gives frames {theirs.shape} that differ from ours {ours.shape}")


def _processor_seconds(decode: Callable[[], object]) -> float:
    begin = time.process_time()
    decode()
    return time.process_time() - begin


def _versions() -> dict[str, str]:
    names = ["av", "numpy"] + (["torchcodec"] if torchcodec_decoders() is not None else [])
    return {name: importlib.metadata.version(name) for name in names}
