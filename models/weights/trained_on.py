"""What a network was trained on, kept with its weights, and whether other shards are of the same kind.

Scores are numbers without names: a checkpoint that sees the same classes in another order, frames at another rate or
flow of another bound gives scores that look like any others. So all that decides their meaning is compared first.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tdn_data.models.backbones.base import IMAGENET_MEAN, IMAGENET_STD
from tdn_data.models.library_versions import deciding_versions
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.text import some_of

if TYPE_CHECKING:
    from tdn_data.pipeline.shards.reader import ShardReader

logger = logging.getLogger(__name__)

NORMALIZATION = {  # modality -> mean and deviation of what a network sees, for values in [0, 1]
    "rgb": (IMAGENET_MEAN, IMAGENET_STD),
    "flow": ((0.5, 0.5), (0.226, 0.226)),  # of discretised flow: no motion is 0.5
}
SAMPLING = ("every_seconds", "fps", "max_seconds", "pairs", "method", "bound")  # parameters that change what clips show
SIZES = ("height", "width", "short_side", "codec", "quality", "preset")  # that change how well it shows it


@dataclass(frozen=True)
class TrainedOn:
    """A training's data: the set's name and classes in order, the shards' parameters, and a digest of their videos.

    `libraries` are the versions that it ran with, empty in files of earlier versions.
    """

    modality: str
    dataset: str
    class_names: tuple[str, ...]
    multi_label: bool
    parameters: Mapping[str, object]
    normalization: tuple[tuple[float, ...], tuple[float, ...]]
    digest: str
    libraries: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, reader: ShardReader) -> TrainedOn:
        """Return the record of finished shards."""
        info = reader.info
        return cls(
            reader.modality,
            info.name,
            tuple(info.class_names),
            info.multi_label,
            dict(info.parameters),
            tuple(tuple(values) for values in NORMALIZATION[reader.modality]),
            data_digest(reader),
            deciding_versions(),
        )

    def as_dict(self) -> dict[str, object]:
        """Return plain values, as a checkpoint holds them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: object) -> TrainedOn:
        """Return the record of a checkpoint's plain values; raise ValueError, TypeError or KeyError for others."""
        mean, deviation = content["normalization"]
        names = {"class_names": tuple(map(str, content["class_names"])), "parameters": dict(content["parameters"])}
        return cls(**content | names | {"normalization": (tuple(mean), tuple(deviation))})


def data_digest(reader: ShardReader) -> str:
    """Return a SHA-256 of what shards hold: classes, parameters, and each video's split, labels and number of rows."""
    info = reader.info
    videos = sorted((one.video_id, one.split, list(one.labels), one.num_rows) for one in reader.videos)
    content = [reader.modality, info.name, list(info.class_names), info.multi_label, info.parameters, videos]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def check_same_kind(trained: TrainedOn, reader: ShardReader, *, path: object) -> None:
    """Raise InputError that names what differs where the network of the file `path` cannot be tested on shards.

    Other classes, another modality, rate, flow method or bound, several labels or one: refused. Another size or codec,
    or other videos, are said in a log line. The order of the classes is up to `class_order`.
    """
    here = TrainedOn.of(reader)
    words = [
        f"{name} {_shown(getattr(trained, name))} where the shards have {_shown(getattr(here, name))}"
        for name in ("modality", "multi_label", "normalization")
        if getattr(trained, name) != getattr(here, name)
    ]
    words += _other_parameters(trained, here, SAMPLING) if trained.modality == here.modality else []
    if sorted(trained.class_names) != sorted(here.class_names):
        words.append(_other_classes(trained.class_names, here.class_names))
    if words:
        raise InputError(f"{path} was trained with {'; '.join(words)}; train on these shards.", path=path)
    if sizes := _other_parameters(trained, here, SIZES):
        logger.warning("%s was trained with %s", path, "; ".join(sizes))
    elif trained.digest != here.digest:
        logger.info("%s was trained on other videos than the shards hold", path)


def class_order(trained: TrainedOn, class_names: Sequence[str]) -> np.ndarray:
    """Return for each of `class_names` its place among the classes of a training, int64 (C,)."""
    place = {name: number for number, name in enumerate(trained.class_names)}
    return np.array([place[name] for name in class_names], np.int64)


def _other_parameters(trained: TrainedOn, here: TrainedOn, names: Sequence[str]) -> list[str]:
    pairs = {name: (trained.parameters.get(name), here.parameters.get(name)) for name in names}
    return [
        f"{name} {_shown(then)} where the shards have {_shown(now)}"
        for name, (then, now) in pairs.items()
        if then != now
    ]


def _other_classes(trained: Sequence[str], here: Sequence[str]) -> str:
    only_then, only_now = sorted(set(trained) - set(here)), sorted(set(here) - set(trained))
    words = f"{len(trained)} classes where the shards have {len(here)}"
    if only_then:
        words += f", only in training: {some_of(only_then)}"
    return words + (f", only in the shards: {some_of(only_now)}" if only_now else "")


def _shown(value: object) -> str:
    return "null" if value is None else str(value)
