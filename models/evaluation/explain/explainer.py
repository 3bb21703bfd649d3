"""A video's score explained: the clip that a test sees in one view, the class, and the picture of the maps."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from tdn_data.models.clips.pixels import normalize_batch
from tdn_data.models.evaluation.evaluate import check_checkpoint, restore_model, settled
from tdn_data.models.evaluation.explain.learned_flow import flow_rows
from tdn_data.models.evaluation.explain.maps import activation_maps, check_method, gradient_maps, occlusion_map
from tdn_data.models.evaluation.explain.picture import KEY, Row, draw_rows, frame_row, heat_row, same_pictures
from tdn_data.models.evaluation.explain.seen import SeenClip, seen_clip
from tdn_data.models.evaluation.metrics import probabilities_of
from tdn_data.models.evaluation.predict import ONE_VIEW, DecodedVideo
from tdn_data.models.evaluation.protocol import EvaluateConfig
from tdn_data.models.networks.base import ClipShape, VideoNetwork
from tdn_data.models.threads import torch_threads
from tdn_data.models.weights.checkpoint import read_checkpoint
from tdn_data.models.weights.trained_on import check_same_kind
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.progress import OnProgress
from tdn_data.pipeline.shards.reader import DatasetInfo, ShardReader, StoredVideo
from tdn_data.pipeline.text import some_of

TITLES = {"cam": "class activation map", "gradcam": "Grad-CAM", "occlusion": "probability lost behind a square"}
LEAST_LOSS = 0.1  # of the probability, that is full heat in a map of occlusion where nothing takes more
MIDDLE_VIEW = {"num_clips": 1, "num_crops": 1, "temporal": "random", "spatial": "fixed"}
SUBNETWORKS = {"image": "image subnetwork", "difference": "difference subnetwork"}


@dataclass(frozen=True)
class Explanation:
    """A class with its probability in one view, the video's own classes, and `rows` of pictures: frames, then maps.

    `flow_pixels` is the motion that is full colour where the rows are of flow; `key` says what the colours of heat are.
    """

    rows: tuple[Row, ...]
    class_name: str
    probability: float
    truth: tuple[str, ...]
    flow_pixels: float | None = None
    key: str = KEY

    @property
    def picture(self) -> np.ndarray:
        """The rows below each other, uint8 (H, W, 3) RGB."""
        return draw_rows(self.rows, flow_pixels=self.flow_pixels, key=self.key if self.flow_pixels is None else "")


class Explainer:
    """Explains what a checkpoint's network says of videos, each by the middle clip of `config` in its centre crop.

    `method` is `cam`, `gradcam`, `occlusion` or `flow`; `layer` is the stage of `gradcam`, by default the last.
    `class_name` is the class that is explained, by default the one that the network takes a clip for.

    Raises InputError for an unknown class or layer, and for a method that the network has no map for.
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike[str],
        *,
        method: str = "cam",
        layer: str | None = None,
        class_name: str | None = None,
        config: EvaluateConfig = ONE_VIEW,
    ) -> None:
        saved = read_checkpoint(checkpoint)
        self.trained = check_checkpoint(saved, checkpoint)
        self._method, self._layer = method, layer
        self._number = None if class_name is None else _class_number(self.trained.class_names, class_name)
        self._config = settled(replace(config, **MIDDLE_VIEW), saved, checkpoint)
        self._model = restore_model(saved, num_segments=self._config.num_segments)
        self._shape = ClipShape.of(self._model, self._config.size or saved.clip_size)
        check_method(self._model, method, layer)

    def __call__(
        self,
        reader: ShardReader | DecodedVideo,
        video: StoredVideo,
        info: DatasetInfo,
        *,
        flow: ShardReader | None = None,
        on_progress: OnProgress | None = None,
    ) -> Explanation:
        """Explain one of the videos of `reader`, whose data set is `info`.

        `flow` are the shards that predicted flow is shown beside. `on_progress` counts the squares of `occlusion`.
        Raises InputError where frames are smaller than the crop, and for the flow of a single frame.
        """
        model, trained = self._model, self.trained
        cut = self._config.views().cut
        seen = seen_clip(reader, video, self._shape, cut, repeat_to=cut.repeat_to(info))
        with torch_threads(self._config.num_threads):
            clip = normalize_batch(torch.from_numpy(seen.levels)[None].to(next(model.parameters()).device))
            with torch.inference_mode():
                scores = model(clip)[0].float().cpu().numpy()
            values = probabilities_of(scores, multi_label=trained.multi_label)
            number = int(scores.argmax()) if self._number is None else self._number
            name, truth = trained.class_names[number], tuple(info.class_names[label] for label in video.labels)
            known = (name, float(values[number]), truth)
            if self._method == "flow":
                _check_moves(seen)
                rows, scale = flow_rows(model, clip, seen, flow)
                top = frame_row(_caption(seen, *known), seen.frames(), seen.seconds, all_frames=True)
                return Explanation((top, *rows), *known, flow_pixels=scale)
            maps = _maps(self._method, model, clip, seen, number, self._layer, trained.multi_label, on_progress)
        square = {"rgb": " of black", "flow": " of no motion"}[trained.modality] if self._method == "occlusion" else ""
        words = f"{TITLES[self._method]}{square}{f' at {self._layer}' if self._layer else ''}"
        titled = {_title(stream, words, one, self._method): one for stream, one in maps.items()}
        if self._method != "occlusion":
            return Explanation(_rows(_caption(seen, *known), seen, titled), *known)
        rows = _rows(_caption(seen, *known), seen, titled, least_range=LEAST_LOSS)
        return Explanation(rows, *known, key=f"{KEY}, at least {LEAST_LOSS:.0%} apart")


def explain(
    reader: ShardReader,
    checkpoint: str | os.PathLike[str],
    video_id: str,
    *,
    flow: ShardReader | None = None,
    on_progress: OnProgress | None = None,
    **options: object,
) -> Explanation:
    """Explain what a checkpoint's network says of one video of finished shards; options as `Explainer` has them.

    Raises InputError for an unknown video, and for shards that the network was not trained on the like of.
    """
    video = _video(reader, video_id)
    explainer = Explainer(checkpoint, **options)
    check_same_kind(explainer.trained, reader, path=checkpoint)
    return explainer(reader, video, reader.info, flow=flow, on_progress=on_progress)


def below_each_other(explained: Mapping[str, Explanation]) -> Explanation:
    """Return the rows of several networks, name -> explanation, in one picture; what it says is the first one's.

    Wang et al., supplement C, has eight frames, then the maps of the baseline and of TDN. Frames are drawn again where
    a network sees others.
    """
    rows: list[Row] = []
    for name, (top, *maps) in ((name, one.rows) for name, one in explained.items()):
        captions = [f"{name}: {row.caption}" for row in maps]
        if rows and same_pictures(rows[0], top):
            captions[0] = f"{name}, {top.caption}; {maps[0].caption}"
        else:
            rows.append(replace(top, caption=f"{name}, {top.caption}"))
        rows += [replace(row, caption=caption) for row, caption in zip(maps, captions, strict=True)]
    return replace(next(iter(explained.values())), rows=tuple(rows))


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


def _check_moves(seen: SeenClip) -> None:
    """Raise InputError where a clip is one frame again and again, in which nothing can be seen to move."""
    if len(np.unique(seen.rows)) == 1:
        video_id = seen.video.video_id
        words = "there is one frame of it, and nothing moves; explain it by another --method"
        raise InputError(f"{video_id} has no flow to be drawn: {words}.", key=video_id)


def _rows(caption: str, seen: SeenClip, maps: dict[str, np.ndarray], **scale: float) -> tuple[Row, ...]:
    """Return the row of frames, and below it one of each map by its title."""
    frames = seen.frames()
    every = max(map(len, maps.values())) > len(frames)
    rows = [heat_row(title, one, frames, all_frames=every, **scale) for title, one in maps.items()]
    return (frame_row(caption, frames, seen.seconds, all_frames=every), *rows)


def _title(stream: str, words: str, maps: np.ndarray, method: str) -> str:
    low, high = float(maps.min()), float(maps.max())
    numbers = loss_words(low, high) if method == "occlusion" else f"{low:.3g} to {high:.3g}"
    score = f", mean {float(maps.mean()):.3g} is its score" if method == "cam" else ""
    return f"{SUBNETWORKS.get(stream, stream)}, {words}: {numbers}{score}"


def loss_words(low: float, high: float) -> str:
    """Return what a map of occlusion says in numbers: the least and the most that is lost, and what full heat is.

    >>> loss_words(-0.2, 0.704), loss_words(-0.001, 0.034), loss_words(-0.001, 0.002)
    ('-20% to 70%', '0% to 3%; red would be 10%', 'less than 0.5% everywhere, so that no single place matters')
    """
    if max(abs(low), abs(high)) < 0.005:
        return "less than 0.5% everywhere, so that no single place matters"
    red = f"; red would be {round(100 * (low + LEAST_LOSS))}%" if high - low < LEAST_LOSS else ""
    return f"{round(100 * low)}% to {round(100 * high)}%{red}"


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
