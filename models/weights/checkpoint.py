"""Weights on disk: our own checkpoints, and files that others published."""

from __future__ import annotations

import io
import logging
import os
import pickle
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from tdn_data.models.backbones.base import Backbone, StateDict, fitted_state
from tdn_data.models.networks.base import VideoNetwork
from tdn_data.models.weights.published import IMAGENET, in_todays_form, published_file
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import check_output_file, fill, open_regular, replacing, write_bytes
from tdn_data.pipeline.limits import MAX_CLASSES, MAX_SEGMENTS, MAX_SIDE
from tdn_data.pipeline.text import some_of

logger = logging.getLogger(__name__)

CHECKPOINT_VERSION = 3
READABLE_VERSIONS = (1, 2, 3)  # 1 did not note what a network was trained on, 2 not how its clips were cut
FORMER_NAMES = {"tdm": "tdn_wang"}  # of networks, in older checkpoints
SPARE_BYTES = 1 << 16  # more than two checkpoints of the same network differ by in size


@dataclass(frozen=True)
class Checkpoint:
    """A trained network: what `build_model` needs to recreate it, its weights, how its clips are cut, and its data.

    `data` are the plain values of `models.weights.trained_on.TrainedOn`, None in files of version 1; `cut` those of
    `models.clips.cut.Cut`, None in files that are older than it.
    """

    model: str
    options: dict[str, object]
    num_classes: int
    clip_size: int
    state_dict: StateDict
    data: dict[str, object] | None = None
    cut: dict[str, object] | None = None


def save_checkpoint(checkpoint: Checkpoint, path: str | os.PathLike[str]) -> None:
    """Write a whole checkpoint or none; `read_checkpoint` has an example.

    Args:
        checkpoint: What is written; its weights may lie on any device.
        path: The file; one of that name is replaced once the new one is whole.

    Raises:
        InputError: Nothing can be written there: a folder that is missing, or is in the way.
        StorageError: The system refuses, a full disk for one; what was there before stays.
    """
    write_bytes(check_output_file(path), _content(checkpoint))


@contextmanager
def room_for_checkpoint(checkpoint: Checkpoint, path: str | os.PathLike[str]) -> Iterator[Callable[[Checkpoint], None]]:
    """Take the space of a checkpoint on the disk, and give the function that writes one of that size to `path`.

    So a disk that is too small is found before a training, and one that others fill meanwhile takes its weights yet.

    Args:
        checkpoint: One of the size of that which will be written.
        path: The file; one of that name is replaced when the block ends.

    Yields:
        A function that takes the checkpoint to be written.

    Raises:
        InputError: Nothing can be written at `path`.
        StorageError: There is not enough space.

    Example:
        >>> import tempfile
        >>> start = Checkpoint("tsn", {}, 5, 224, {})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with room_for_checkpoint(start, f"{folder}/tsn.pt") as write:
        ...         write(start)
        ...     read_checkpoint(f"{folder}/tsn.pt").num_classes
        5
    """
    with replacing(check_output_file(path), reserve_bytes=len(_content(checkpoint)) + SPARE_BYTES) as scratch:
        yield lambda trained: fill(scratch, _content(trained))


def _content(checkpoint: Checkpoint) -> memoryview:
    """Return a checkpoint as the bytes of its file."""
    buffer = io.BytesIO()  # given a name, torch.save writes it into the file
    torch.save({"version": CHECKPOINT_VERSION, **vars(checkpoint)}, buffer)
    return buffer.getbuffer()


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Return one of our checkpoints, read from its file; code in the file is never run.

    Args:
        path: The file, as a training wrote it.

    Returns:
        The checkpoint: the network's name, options and number of classes, its weights on the CPU, the size of its
        clips, and what it was trained on.

    Raises:
        InputError: The file is missing, is no checkpoint of this program, or is damaged.

    Example:
        >>> import tempfile
        >>> from tdn_data.models import build_model
        >>> options = {"backbone": "resnet18", "width": 8, "num_segments": 3}
        >>> weights = build_model("tsn", num_classes=5, **options).state_dict()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_checkpoint(Checkpoint("tsn", options, 5, 224, weights), f"{folder}/tsn.pt")
        ...     checkpoint = read_checkpoint(f"{folder}/tsn.pt")
        >>> checkpoint.model, checkpoint.num_classes, checkpoint.clip_size
        ('tsn', 5, 224)
        >>> network = build_model(checkpoint.model, num_classes=checkpoint.num_classes, **checkpoint.options)
        >>> network.load_state_dict(checkpoint.state_dict)
        <All keys matched successfully>
    """
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
    if unknown := sorted(values.keys() - expected.keys() - {"data", "cut"}):
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


def load_weights(model: VideoNetwork | Backbone, *paths: str | os.PathLike[str]) -> None:
    """Load files into `model`, one after the other.

    Each is our checkpoint of the same network, or published weights for its backbones.

    A file with a backbone's parameter names (torchvision's, or `bninception`) goes into every backbone of the model: a
    first layer for other channels is converted by averaging and repeating (cross-modality initialisation, Ng & Davis,
    section 3.4), the classifier stays as it is where its size differs and is left out where the network has none of
    that kind. A network may know more files (`VideoNetwork.parts_for`): a TSN's checkpoint goes into the image
    subnetwork of a TDN, the files of TDN's authors into theirs, runs of single branches into a network of several
    (`VideoNetwork.start_from`). Where our checkpoint knows another number of classes,
    what gives scores stays as it is (fine-tuning). Parts that fit a file to themselves do so: a removed flow decoder is
    passed over, local pooling's softmax layer grows to the network's windows.

    Args:
        model: The network or the bare backbone; it is changed in place, by each file as a whole or not at all.
        paths: The files, or "imagenet": the published one of the model's backbone, downloaded on first use, see
            `weights.published`.

    Raises:
        InputError: A file is missing, damaged or cannot be downloaded, was trained on another modality, belongs to
            another network, or cannot be loaded beside another one; the message names what differs.

    Example:
        >>> import tempfile
        >>> from tdn_data.models import build_model
        >>> from tdn_data.models.backbones import build_backbone
        >>> images = build_backbone("resnet18", num_classes=1000, width=8)
        >>> network = build_model("tsn", num_classes=5, backbone="resnet18", width=8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save(images.state_dict(), f"{folder}/resnet18.pth")
        ...     load_weights(network, f"{folder}/resnet18.pth")
        >>> torch.equal(network.backbone.conv1.weight, images.conv1.weight)
        True
        >>> network.backbone.fc.weight.shape  # the file's 1000 classes are others
        torch.Size([5, 64])
    """
    files = [published_file(model) if path == IMAGENET else path for path in paths]
    states = model.start_from([(path, _state_for(model, path)) for path in files])
    for path, state in zip(files, states, strict=True):
        parts = [(part, _checked(part, own, path)) for part, own in model.parts_for(state)]
        for part, own in parts:
            part.load_state_dict(own)


def _state_for(model: VideoNetwork | Backbone, path: str | os.PathLike[str]) -> StateDict:
    """Return a file's weights by name; of our checkpoints those that serve `model` (see `_with_own_scores`)."""
    content = _load(Path(path))
    ours = isinstance(content, dict) and content.get("version") in READABLE_VERSIONS
    if ours:
        _check_modality(model, read_checkpoint(path), path)
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path} holds no named tensors; give a checkpoint or a state dict.", path=path)
    state = in_todays_form({name.removeprefix("module."): value for name, value in state.items()})
    return _with_own_scores(model, state, num_classes=content["num_classes"], path=path) if ours else state


def _load(path: Path) -> object:
    """Return a file's tensors and plain values; code in it is never run."""
    with open_regular(path, what="file of weights") as file:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of pickles that torch did not write; what they lack is said below
                return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises a dozen kinds for files that are none of its own
            reason = "is no file of weights, or is damaged or cut off"
            if isinstance(error, pickle.UnpicklingError) and "global" in str(error).lower():
                reason = "holds code beside tensors and plain values; it was not run, and the file is not loaded"
            raise InputError(f"{path} {reason}.", path=path) from error


def _check_modality(model: VideoNetwork | Backbone, checkpoint: Checkpoint, path: object) -> None:
    """Raise InputError where a checkpoint was trained on another modality than the model's."""
    modality = checkpoint.options.get("modality", "rgb")
    if model.modality is not None and modality not in (model.modality, *model.start_modalities):
        raise InputError(
            f"{path} was trained on {modality}, and this network reads {model.modality}; give weights that were "
            f"trained on {model.modality}.",
            path=path,
        )


def _with_own_scores(model: nn.Module, state: StateDict, *, num_classes: int, path: object) -> StateDict:
    """Return the weights of a checkpoint of `num_classes`, with the model's own ones where it has other classes."""
    other = {
        name: own
        for name, own in model.state_dict().items()
        if name in state and own.ndim < 4 and _differing(state[name], own) == [num_classes]
    }
    if other:
        logger.info("%s knows %d classes: %s stay as they are", path, num_classes, ", ".join(other))
    return state | other


def _differing(given: Tensor, own: Tensor) -> list[int]:
    """Return the lengths of `given` in those dimensions in which it differs from `own`, of as many dimensions."""
    if given.ndim != own.ndim:
        return []
    return [length for length, own_length in zip(given.shape, own.shape, strict=True) if length != own_length]


def _checked(part: nn.Module, state: StateDict, path: object) -> StateDict:
    """Return `state` fitted to a part; raise InputError that names missing, unknown and differently shaped weights."""
    state, own = fitted_state(part, state), part.state_dict()
    missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own.keys() & state.keys()
        if own[name].shape != state[name].shape
    ]
    differences = [("missing", missing), ("unknown", unknown), ("other shapes", sorted(shapes))]
    words = [f"{title}: {some_of(names)}" for title, names in differences if names]
    if words:
        raise InputError(
            f"{path} belongs to another network than {type(part).__name__}: {'; '.join(words)}.", path=path
        )
    return state
