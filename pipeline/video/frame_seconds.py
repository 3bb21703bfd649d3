"""How long pictures stay on screen, by what a container stores and what their own times say."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from tdn_data.pipeline.video.bare import is_bare
from tdn_data.pipeline.video.container import format_names
from tdn_data.pipeline.video.stamps import is_nearly_rising

_GUESSED = {"flv", "mpegts", "nut"}  # store no durations: what FFmpeg says of them follows from a rate
FALLBACK_FRAME_SECONDS = 0.04  # for a frame whose duration nothing tells
_FAR_LONGER = 1.5  # times as long as to the next picture: no duration of a picture


def span_seconds_of(pts: tuple[int | None, ...], duration: tuple[int | None, ...], stream: VideoStream) -> float:
    """From the first timestamp to the end of the last; where times begin again, at least as long as all are shown."""
    ends = [begin + (ticks or 0) for begin, ticks in zip(pts, duration, strict=True) if begin is not None]
    if not ends:
        return 0.0
    begins = np.array([begin for begin in pts if begin is not None], dtype=np.int64)
    seconds = float((max(ends) - int(begins.min())) * stream.time_base)
    if is_nearly_rising(begins):
        return seconds
    return max(seconds, len(begins) * _mean_seconds(picture_rate(stream, duration)))


def stored_seconds(container: InputContainer, stream: VideoStream, duration: int | None) -> float:
    """A packet's duration, 0 where the container stores none."""
    return 0.0 if format_names(container) & _GUESSED else float((duration or 0) * stream.time_base)


def are_of_pictures(durations: Sequence[int | None], ticks: np.ndarray) -> bool:
    """Whether the packets' durations go with the pictures' own times, both in the order on screen.

    FFmpeg's parser of MPEG-1 and MPEG-2 writes the rate of the stream's header over those that a container stores.
    """
    known = [one for one in durations[:-1] if one]
    return not known or bool(np.median(known) < _FAR_LONGER * np.median(np.diff(ticks)))


def picture_rate(stream: VideoStream, duration: Sequence[int | None]) -> Fraction | None:
    """Pictures a second as they are announced; None where nothing says. `duration` are the packets' own, in ticks.

    What FFmpeg takes for the mean rate of a bare stream is a fixed one; its durations follow the stream's header.
    """
    if not is_bare(stream.container):
        return stream.average_rate
    known = [ticks for ticks in duration if ticks]
    return 1 / (round(np.median(known)) * stream.time_base) if known else stream.guessed_rate


def usual_frame_seconds(pts_seconds: np.ndarray, stream: VideoStream, duration: Sequence[int | None]) -> float:
    """How long a picture stays: by the announced rate, unless the pictures' own times plainly contradict it.

    `duration` are the packets' own, in ticks.
    """
    rate = picture_rate(stream, duration)
    mean_seconds = _mean_seconds(rate)
    if len(pts_seconds) < 2:
        return mean_seconds
    seen_seconds = float(np.median(np.diff(pts_seconds)))
    agree = rate and 0.5 < seen_seconds / mean_seconds < 2
    return mean_seconds if agree else seen_seconds


def _mean_seconds(rate: Fraction | None) -> float:
    return float(1 / rate) if rate else FALLBACK_FRAME_SECONDS
