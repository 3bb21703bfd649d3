"""A program that uses the public interfaces; mypy holds what their annotations promise against it. Never run."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import assert_type

import numpy as np

from tdn_data.models import MODELS, build_model, load_weights
from tdn_data.models.backbones import build_backbone
from tdn_data.models.backbones.base import Backbone
from tdn_data.models.evaluation.predict import Prediction, Predictor
from tdn_data.models.networks.base import VideoNetwork
from tdn_data.pipeline import __version__
from tdn_data.pipeline.datasets.index import index_dataset
from tdn_data.pipeline.errors import InputError, PipelineError, VideoError
from tdn_data.pipeline.flow import dequantize, flow_to_color, iter_flow, optical_flow, quantize, read_flo, write_flo
from tdn_data.pipeline.shards.reader import ShardReader, StoredFrames, StoredVideo
from tdn_data.pipeline.video import Frame, FrameBatch, VideoInfo, iter_frames, probe, sample_frames, write_video
from tdn_data.pipeline.view import show

assert_type(__version__, str)


def decode(path: Path) -> np.ndarray:
    """Frames at times, a file's facts, and why some frames are missing."""
    batch = sample_frames(path, every_seconds=3, size=(256, 256))
    assert_type(batch, FrameBatch)
    assert_type(batch[0], Frame | FrameBatch)
    problem: VideoError | None = batch.problem
    assert_type(probe(path), VideoInfo)
    times: np.ndarray = batch.pts_seconds
    for frame in iter_frames(str(path), fps=5, size=128, pixel_format="gray"):
        assert_type(frame, Frame)
    write_video(path, batch.data, fps=float(times[1]))
    if problem is not None and isinstance(problem, PipelineError):
        raise InputError("not whole", path=path)
    return batch.data


def compute(grey: np.ndarray) -> Iterator[np.ndarray]:
    """Flow of pairs and of a stream, stored and drawn."""
    flow: np.ndarray = optical_flow(grey[:-1], grey[1:], method="tvl1", device="cpu")
    levels: np.ndarray = quantize(flow, 20.0)
    picture: np.ndarray = flow_to_color(dequantize(levels, 20.0)[0])
    write_flo("a.flo", flow[0])
    yield read_flo("a.flo")
    yield picture
    yield from iter_flow(iter(grey))


def read(folder: str) -> StoredFrames:
    """Videos of a split and some of their rows."""
    reader = ShardReader(folder, modality="flow", list_split=1)
    videos = reader.videos
    assert_type(videos, Sequence[StoredVideo])
    assert_type(reader.info.class_names, tuple[str, ...])
    show(folder, videos[0].video_id)
    index_dataset("folder", Path(folder))
    return reader.read(videos[0].video_id, rows=[0, 3])


def learn(path: Path) -> list[tuple[str, float]]:
    """Networks by name, their weights, and what one sees."""
    names: list[str] = list(MODELS)
    network = build_model(names[0], num_classes=8, num_segments=4, modality="flow")
    assert_type(network, VideoNetwork)
    load_weights(network, path)
    assert_type(build_backbone("resnet50", num_classes=10), Backbone)
    prediction = Predictor(path)("new.mp4")
    assert_type(prediction, Prediction)
    return prediction.top(5)
