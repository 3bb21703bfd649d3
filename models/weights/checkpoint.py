"""Weights on disk: our own checkpoints, and files that others published."""

from __future__ import annotations

import io
import logging
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from tdn_data.models.backbones import bninception, googlenet, is_classifier
from tdn_data.models.backbones.base import Backbone, convert_first_layer
from tdn_data.models.networks.tsn import NUM_CHANNELS
from tdn_data.models.weights.published import IMAGENET, in_todays_form, published_file
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import check_output_file, fill, open_regular, replacing, write_bytes
from tdn_data.pipeline.limits import MAX_CLASSES, MAX_SEGMENTS, MAX_SIDE

logger = logging.getLogger(__name__)

CHECKPOINT_VERSION = 2
READABLE_VERSIONS = (1, 2)  # version 1 did not note what a network was trained on
# networks whose published files expect other pixels than ours -> what rewrites their first layer
PUBLISHED_INPUTS = {
    bninception.BNInception: bninception.weights_for_rgb,
    googlenet.GoogLeNet: googlenet.weights_for_rgb,
}
FORMER_NAMES = {"tdm": "tdn_wang"}  # of networks, in older checkpoints
MAX_NAMES_SHOWN = 3
SPARE_BYTES = 1 << 16  # more than two checkpoints of the same network differ by in size


@dataclass(frozen=True)
class Checkpoint:
    """A trained network: what `build_model` needs to recreate it, its weights, how its clips are cut, and its data.

    `data` are the plain values of `models.weights.trained_on.TrainedOn`; None in files of version 1.
    """

    model: str
    options: dict[str, object]
    num_classes: int
    clip_size: int
    state_dict: dict[str, Tensor]
    data: dict[str, object] | None = None


def save_checkpoint(checkpoint: Checkpoint, path: str | os.PathLike[str]) -> None:
    """Write a whole checkpoint or none; raise StorageError when the system refuses."""
    write_bytes(check_output_file(path), _content(checkpoint))


@contextmanager
def room_for_checkpoint(checkpoint: Checkpoint, path: str | os.PathLike[str]) -> Iterator[Callable[[Checkpoint], None]]:
    """Take the space of a checkpoint on the disk, and give the function that writes one of that size to `path`.

    So a disk that is too small is found before a training, and one that others fill meanwhile takes its weights yet.
    Raises InputError where nothing can be written at `path`, StorageError when there is not enough space.
    """
    with replacing(check_output_file(path), reserve_bytes=len(_content(checkpoint)) + SPARE_BYTES) as scratch:
        yield lambda trained: fill(scratch, _content(trained))


def _content(checkpoint: Checkpoint) -> memoryview:
    """Return a checkpoint as the bytes of its file."""
    buffer = io.BytesIO()  # given a name, torch.save writes it into the file
    torch.save({"version": CHECKPOINT_VERSION, **vars(checkpoint)}, buffer)
    return buffer.getbuffer()


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read one of our checkpoints; raise InputError when it is missing, is none, or is damaged."""
    content = _load(Path(path))
    if not isinstance(content, dict) or content.get("version") not in READABLE_VERSIONS:
        raise InputError(f"{path} is no checkpoint of this program; train one with `dvc repro train`.", path=path)
    values = {name: value for name, value in content.items() if name != "version"}
    if problem := _damage(values):
        raise InputError(f"{path} is a damaged checkpoint: {problem}; train the network again.", path=path)
    return Checkpoint(**values | {"model": FORMER_NAMES.get(values["model"], values["model"])})


def _damage(values: dict[str, object]) -> str | None:
    """Return what is wrong with a checkpoint's values before anything is built from them, None for nothing."""
    expected = {"model": str, "options": dict, "num_classes": int, "clip_size": int, "state_dict": dict}
    for name, kind in expected.items():
        if name not in values:
            return f"{name} is missing"
        if not isinstance(values[name], kind):
            return f"{name} is {type(values[name]).__name__}, not {kind.__name__}"
    if unknown := sorted(values.keys() - expected.keys() - {"data"}):
        return f"{unknown[0]!r} is not known"
    limits = {"num_classes": (values["num_classes"], MAX_CLASSES), "clip_size": (values["clip_size"], MAX_SIDE)}
    limits["num_segments"] = (values["options"].get("num_segments", 1), MAX_SEGMENTS)
    for name, (value, limit) in limits.items():
        if not isinstance(value, int) or not 1 <= value <= limit:
            return f"{name} is {value!r}; allowed are 1 to {limit:,}"
    return _damaged_weights(values["state_dict"])


def _damaged_weights(state: dict[str, object]) -> str | None:
    for name, value in state.items():
        if not isinstance(value, Tensor):
            return f"{name} is no tensor"
        if value.is_floating_point() and not value.isfinite().all():
            return f"{name} holds values that are not numbers"
    return None


def load_weights(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Load a file into `model`: our checkpoint of the same network, or published weights for its backbones.

    `path` may be "imagenet": the published file of the model's backbone, downloaded on first use (`weights.published`).
    A file with a backbone's parameter names (torchvision's, or `bninception`) goes into every backbone of the model:
    the classifier stays as it is where its size differs and is left out where the network has none of that kind, and a
    first layer for other channels is converted by averaging and repeating (cross-modality initialisation, Ng & Davis,
    section 3.4). A TSN's checkpoint goes into the image subnetwork of a TDN in the same way (the same section, for
    flow). Where our checkpoint knows another number of classes, what gives scores stays as it is (fine-tuning). Parts
    that fit a file to themselves do so: a removed flow decoder is passed over, local pooling's softmax layer grows to
    the network's windows. Raises InputError that names what differs when the file belongs to another network.
    """
    if path == IMAGENET:
        path = published_file(model)
    content = _load(Path(path))
    ours = isinstance(content, dict) and content.get("version") in READABLE_VERSIONS
    if ours:
        _check_modality(model, read_checkpoint(path), path)
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path} holds no named tensors; give a checkpoint or a state dict.", path=path)
    state = in_todays_form({name.removeprefix("module."): value for name, value in state.items()})
    if ours:
        state = _with_own_scores(model, state, num_classes=content["num_classes"], path=path)
    if hasattr(model, "published_weights"):  # a network with files of its own authors
        state = model.published_weights(state)
    backbones = [module for module in model.modules() if isinstance(module, Backbone)]
    if not backbones or (backbones[0] is not model and not model.state_dict().keys().isdisjoint(state)):
        _load_strict(model, state, path)
        return
    if all(name.startswith("backbone.") for name in state) and hasattr(model, "image"):
        own = {name.removeprefix("backbone."): value for name, value in state.items()}
        _load_strict(model.image, _adapted(model.image, own), path)
        return
    for backbone in backbones:
        convert = PUBLISHED_INPUTS.get(type(backbone)) if _first_layer(backbone) in state else None
        _load_strict(backbone, _adapted(backbone, convert(state) if convert else state), path)


def _load(path: Path) -> object:
    """Return a file's tensors and plain values; code in it is never run."""
    with open_regular(path, what="file of weights") as file:
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises a dozen kinds for files that are none of its own
            reason = "is no file of weights, or is damaged or cut off"
            if isinstance(error, pickle.UnpicklingError) and "global" in str(error).lower():
                reason = "holds code beside tensors and plain values; it was not run, and the file is not loaded"
            raise InputError(f"{path} {reason}.", path=path) from error


def _check_modality(model: nn.Module, checkpoint: Checkpoint, path: object) -> None:
    """Raise InputError where a checkpoint's first layer reads another modality than the model's and cannot serve it."""
    modality, channels = checkpoint.options.get("modality", "rgb"), getattr(model, "in_channels", None)
    if channels is None or channels % NUM_CHANNELS.get(modality, channels) == 0:
        return
    own = next(name for name, count in NUM_CHANNELS.items() if channels % count == 0)
    raise InputError(
        f"{path} was trained on {modality}, and this network reads {own}; give weights that were trained on {own}.",
        path=path,
    )


def _with_own_scores(
    model: nn.Module, state: dict[str, Tensor], *, num_classes: int, path: object
) -> dict[str, Tensor]:
    """Return the weights of a checkpoint of `num_classes`, with the model's own ones where it has other classes."""
    other = {
        name: own
        for name, own in model.state_dict().items()
        if name in state and _differing(state[name], own) == [num_classes]
    }
    if other:
        logger.info("%s knows %d classes: %s stay as they are", path, num_classes, ", ".join(other))
    return state | other


def _differing(given: Tensor, own: Tensor) -> list[int]:
    """Return the lengths of `given` in those dimensions in which it differs from `own`, of as many dimensions."""
    if given.ndim != own.ndim:
        return []
    return [length for length, own_length in zip(given.shape, own.shape, strict=True) if length != own_length]


def _adapted(backbone: Backbone, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a backbone's state dict with its first layer and its classifier fitted to `backbone`."""
    adapted = dict(state)
    own = backbone.state_dict()
    first = _first_layer(backbone)
    for name in [name for name in own if name in adapted and adapted[name].shape != own[name].shape]:
        if is_classifier(name):
            adapted[name] = own[name]
        elif name == first and adapted[name].shape[2:] == own[name].shape[2:]:
            adapted[name] = convert_first_layer(adapted[name], own[name].shape[1])
    return {name: value for name, value in adapted.items() if name in own or not _is_left_out(name)}


def _first_layer(backbone: Backbone) -> str:
    return next(name for name, value in backbone.state_dict().items() if value.ndim >= 4)


def _is_left_out(name: str) -> bool:
    """Return whether a published file's parameter belongs to scores that a network can do without: classifiers."""
    return is_classifier(name) or name.startswith(("aux1.", "aux2."))  # GoogLeNet's auxiliary ones


def _load_strict(module: nn.Module, state: dict[str, Tensor], path: object) -> None:
    """Load `state`; raise InputError that names missing, unknown and differently shaped parameters."""
    state, own = _fitted(module, state), module.state_dict()
    missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own.keys() & state.keys()
        if own[name].shape != state[name].shape
    ]
    parts = [("missing", missing), ("unknown", unknown), ("other shapes", sorted(shapes))]
    words = [f"{title}: {_some(names)}" for title, names in parts if names]
    if words:
        raise InputError(
            f"{path} belongs to another network than {type(module).__name__}: {'; '.join(words)}.", path=path
        )
    module.load_state_dict(state)


def _fitted(module: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return `state` after each part of `module` that takes files of another form has fitted it to itself.

    `load_state_dict` has the parts do that, too (`fit_state` is their hook), but does not tell what came of it.
    """
    fitted = dict(state)
    for name, part in module.named_modules():
        if hasattr(part, "fit_state"):
            part.fit_state(fitted, f"{name}." if name else "")
    return fitted


def _some(names: list[str]) -> str:
    more = len(names) - MAX_NAMES_SHOWN
    return ", ".join(names[:MAX_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
