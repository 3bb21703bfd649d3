"""One video's score explained: the clip that a test sees in one view, the class, and the picture of the maps."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tdn_data.models.clips.pixels import normalize_batch
from tdn_data.models.evaluation.evaluate import check_checkpoint, restore_model, settled
from tdn_data.models.evaluation.explain.flow import flow_rows
from tdn_data.models.evaluation.explain.maps import activation_maps, gradient_maps, occlusion_map
from tdn_data.models.evaluation.explain.picture import KEY, draw_rows, frame_row, heat_row
from tdn_data.models.evaluation.explain.seen import SeenClip, seen_clip
from tdn_data.models.evaluation.metrics import probabilities_of
from tdn_data.models.evaluation.predict import ONE_VIEW
from tdn_data.models.evaluation.protocol import EvaluateConfig
from tdn_data.models.networks.base import ClipShape, VideoNetwork
from tdn_data.models.threads import torch_threads
from tdn_data.models.weights.checkpoint import read_checkpoint
from tdn_data.models.weights.trained_on import check_same_kind
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.progress import OnProgress
from tdn_data.pipeline.shards.reader import ShardReader, StoredVideo
from tdn_data.pipeline.text import some_of

TITLES = {"cam": "class activation map", "gradcam": "Grad-CAM", "occlusion": "probability lost behind a black square"}
SUBNETWORKS = {"image": "image subnetwork", "difference": "difference subnetwork"}


@dataclass(frozen=True)
class Explanation:
    """A picture, uint8 (H, W, 3) RGB; the class that it is of, its probability in this view, the video's classes."""

    picture: np.ndarray
    class_name: str
    probability: float
    truth: tuple[str, ...]


def explain(
    reader: ShardReader,
    checkpoint: str | os.PathLike[str],
    video_id: str,
    *,
    method: str = "cam",
    layer: str | None = None,
    class_name: str | None = None,
    config: EvaluateConfig = ONE_VIEW,
    flow: ShardReader | None = None,
    on_progress: OnProgress | None = None,
) -> Explanation:
    """Explain what a checkpoint's network says of one video: the middle clip of `config` in its centre crop.

    `method` is `cam`, `gradcam`, `occlusion` or `flow`; `layer` is the stage of `gradcam`, by default the last.
    `class_name` is the class that is explained, by default the one that the network takes this clip for. `flow` are
    the shards that predicted flow is shown beside. `on_progress` counts the squares of `occlusion`.

    Raises InputError for an unknown video, class or layer, for a method that the network has no map for, and for shards
    that the network was not trained on the like of.
    """
    saved = read_checkpoint(checkpoint)
    trained = check_checkpoint(saved, checkpoint)
    video = _video(reader, video_id)
    number = None if class_name is None else _class_number(trained.class_names, class_name)
    check_same_kind(trained, reader, path=checkpoint)
    config = settled(config, saved, checkpoint)
    model = restore_model(saved, num_segments=config.num_segments)
    shape = ClipShape.of(model, config.size or saved.clip_size)
    seen = seen_clip(reader, video, shape, config.views().cut)
    with torch_threads(config.num_threads):
        clip = normalize_batch(torch.from_numpy(seen.levels)[None].to(next(model.parameters()).device))
        with torch.inference_mode():
            scores = model(clip)[0].float().cpu().numpy()
        values = probabilities_of(scores, multi_label=trained.multi_label)
        number = int(values.argmax()) if number is None else number
        name, truth = trained.class_names[number], tuple(reader.info.class_names[label] for label in video.labels)
        caption = _caption(seen, name, float(values[number]), truth)
        if method == "flow":
            rows, scale = flow_rows(model, clip, seen, flow)
            top = frame_row(caption, seen.frames(), seen.seconds, all_frames=True)
            return Explanation(draw_rows([top, *rows], flow_pixels=scale), name, float(values[number]), truth)
        maps = _maps(method, model, clip, seen, number, layer, trained.multi_label, on_progress)
    words = f"{TITLES[method]}{f' at {layer}' if layer else ''}"
    picture = _picture(caption, seen, {_title(stream, words, one, method): one for stream, one in maps.items()})
    return Explanation(picture, name, float(values[number]), truth)


def _maps(
    method: str,
    model: VideoNetwork,
    clip: Tensor,
    seen: SeenClip,
    number: int,
    layer: str | None,
    multi_label: bool,
    on_progress: OnProgress | None,
) -> dict[str, np.ndarray]:
    """Return the maps of a method by subnetwork, (M, h, w) each."""
    if method == "cam":
        return activation_maps(model, clip, number)
    if method == "gradcam":
        return gradient_maps(model, clip, number, layer=layer)
    lost = occlusion_map(model, seen.levels, number, multi_label=multi_label, on_progress=on_progress)
    return {"network": np.repeat(lost[None], len(seen.levels), axis=0)}


def _picture(caption: str, seen: SeenClip, maps: dict[str, np.ndarray]) -> np.ndarray:
    frames = seen.frames()
    every = max(map(len, maps.values())) > len(frames)
    rows = [heat_row(title, one, frames, all_frames=every) for title, one in maps.items()]
    return draw_rows([frame_row(caption, frames, seen.seconds, all_frames=every), *rows], key=KEY)


def _title(stream: str, words: str, maps: np.ndarray, method: str) -> str:
    low, high = float(maps.min()), float(maps.max())
    numbers = f"{low:.0%} to {high:.0%}" if method == "occlusion" else f"{low:.3g} to {high:.3g}"
    score = f", mean {float(maps.mean()):.3g} is its score" if method == "cam" else ""
    return f"{SUBNETWORKS.get(stream, stream)}, {words}: {numbers}{score}"


def _caption(seen: SeenClip, name: str, probability: float, truth: tuple[str, ...]) -> str:
    return f"{seen.video.video_id}   class {name}: {probability:.3f}; truth: {', '.join(truth) or 'none'}"


def _video(reader: ShardReader, video_id: str) -> StoredVideo:
    for video in reader.videos:
        if video.video_id == video_id:
            return video
    stored = some_of([video.video_id for video in reader.videos]) or "none"
    raise InputError(f"no video {video_id!r} is stored in the shards; these are: {stored}.", key=video_id)


def _class_number(known: tuple[str, ...], name: str) -> int:
    if name not in known:
        raise InputError(f"no class is called {name!r}; the classes are {some_of(list(known))}.", key=name)
    return known.index(name)
