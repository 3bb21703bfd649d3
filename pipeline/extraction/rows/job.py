"""What is asked of one video, and what comes back; importable where nothing can be decoded."""

from __future__ import annotations

from dataclasses import dataclass

from tdn_data.pipeline.errors import VideoError
from tdn_data.pipeline.parameters import FlowNetwork, FlowParameters, FrameParameters
from tdn_data.pipeline.shards.schema import VideoRows


@dataclass(frozen=True)
class VideoJob:
    """What the sandbox is asked for: one video, one modality.

    Of a long video it is a `span`: the rows from a place among all of them up to another.
    """

    path: str
    modality: str
    section: FrameParameters | FlowParameters
    max_pixels: int
    span: tuple[int, int] | None = None
    network: FlowNetwork | None = None  # where the method of flow is a network's file


@dataclass(frozen=True)
class Extraction:
    """What came out of a video: its rows and, when it broke half-way, why and how many were expected."""

    rows: VideoRows
    num_expected: int
    problem: VideoError | None = None
    decoding: str | None = None  # sparse or full: how much of the video had to be decoded
    note: str | None = None  # what of the file is not read at all
