"""A trained network as one file for other programs: ONNX, or a program of torch.export.

Both take a batch of clips as they are decoded, uint8 (batch, S, K, height, width, C), normalise it and give scores
before softmax, (batch, classes); networks that look at several snippets at once take one video at a time. A network
that gives the flow of two frames may also be written as such: float32 images from 0 to 1, (batch, 6, height, width),
the later one's channels behind the earlier's, to flow (batch, 2, h, w), as `flow_solver` reads them; sides are
multiples of 32, in torch's file at least 64. The file's metadata say in JSON, under the key `tdn_data`, what else a
user must know: the classes in order, how videos are sampled and cut, the size, and the mean and deviation that are in
the graph already.
"""

from __future__ import annotations

import json
import logging
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch._dynamo.exc import UserError
from torch.export import ExportedProgram

from tdn_data.models.clips.cut import Cut
from tdn_data.models.evaluation.evaluate import check_checkpoint, restore_model
from tdn_data.models.evaluation.flow_solver import MULTIPLE, FlowFromImages, flow_network
from tdn_data.models.networks.base import NUM_CHANNELS, VideoNetwork
from tdn_data.models.networks.folding import fold_norms
from tdn_data.models.weights.checkpoint import Checkpoint, read_checkpoint
from tdn_data.models.weights.trained_on import TrainedOn
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import check_output_file, file_digest, replacing

if TYPE_CHECKING:
    import onnx

ABOUT = "tdn_data"  # the key of the metadata; torch's file has it as tdn_data.json
ANY = "batch"  # the axis of any length
SYMBOL = re.compile(r"\bs\d+\b")
SCORES_NAMES, FLOW_NAMES = ("clip", "scores"), ("images", "flow")  # of input and output
FLOW_AXES = {2: ("rows", "height"), 3: ("columns", "width")}  # what is counted in multiples, and what it is of


class FromLevels(nn.Module):
    """A network over stored levels: clip uint8 (N, S, K, H, W, C) to scores (N, num_classes)."""

    def __init__(self, network: VideoNetwork, mean: tuple[float, ...], deviation: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("deviation", torch.tensor(deviation)[:, None, None])

    def forward(self, clip: Tensor) -> Tensor:
        """Return scores before softmax."""
        levels = clip.movedim(-1, -3).to(torch.float32).contiguous()
        return self.network((levels / 255 - self.mean) / self.deviation)


def export_model(
    checkpoint: str | os.PathLike[str], *, onnx: Path | None = None, program: Path | None = None, flow: bool = False
) -> dict[str, object]:
    """Write a checkpoint's network for other programs, its normalisation inside: whole files or none.

    Args:
        checkpoint: The file, as a training wrote it.
        onnx: The file for ONNX, None for none.
        program: The file for `torch.export.load`, None for none.
        flow: Whether it is the network from two images to their flow, and not the one from clips to scores.

    Returns:
        The metadata that both files hold: classes, the input's shape and levels, and what the network was trained on.

    Raises:
        InputError: The file is no checkpoint of this program; a package for ONNX is not installed; the network has an
            operation of this program's own (`networks.tvl1_displacement`), which a `program` may have and ONNX not;
            it is asked for its flow and gives none of two frames.
    """
    saved = read_checkpoint(checkpoint)
    trained = check_checkpoint(saved, checkpoint)
    if onnx is not None and (missing := [name for name in ("onnx", "onnxscript") if find_spec(name) is None]):
        raise InputError(f"ONNX needs {' and '.join(missing)}; `pip install {' '.join(missing)}`.", key=missing[0])
    for path in filter(None, (onnx, program)):
        check_output_file(path, inputs=[checkpoint])
    if flow:
        network = flow_network(saved, checkpoint).cpu()
        fold_norms(network.network)
        exported, shape = _flow_exported(network)
    else:
        network = fold_norms(restore_model(saved)).cpu()
        levels = FromLevels(network, *trained.normalization).eval()
        exported, shape = _scores_exported(levels, _clip_shape(saved, network))
    about = _about(saved, trained, shape) | {"checkpoint": file_digest(checkpoint, what="checkpoint")}
    if program is not None:
        with replacing(program) as scratch, _quiet():
            torch.export.save(exported, scratch, extra_files={f"{ABOUT}.json": json.dumps(about)})
    if onnx is not None:
        with _quiet():
            _write_onnx(onnx, exported, about, FLOW_NAMES if flow else SCORES_NAMES)
    return about


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what torch and ONNX say of their own steps: deprecations, a missing torchvision, each rewrite."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _clip_shape(saved: Checkpoint, network: VideoNetwork) -> tuple[int, ...]:
    sides = (saved.clip_size, saved.clip_size)
    return (network.num_segments, network.snippet_length, *sides, NUM_CHANNELS[network.modality])


def _about(saved: Checkpoint, trained: TrainedOn, shape: Sequence[int | str]) -> dict[str, object]:
    """Return what a user of the file, whose input has a shape, must know, as plain values."""
    mean, deviation = trained.normalization
    return {
        "network": saved.model,
        "class_names": list(trained.class_names),
        "multi_label": trained.multi_label,
        "modality": trained.modality,
        "input": list(shape),
        "mean": list(mean),
        "deviation": list(deviation),
        "sampling": dict(trained.parameters),
        "cut": saved.cut or asdict(Cut()),
        "data_digest": trained.digest,
        "libraries": dict(trained.libraries),
    }


def _scores_exported(network: FromLevels, shape: tuple[int, ...]) -> tuple[ExportedProgram, tuple[int | str, ...]]:
    """Return the network and its input's shape: any number of clips, or 1 where its operations allow no other."""
    two, any_number = torch.zeros(2, *shape, dtype=torch.uint8), {0: torch.export.Dim(ANY)}
    with torch.no_grad():
        try:
            return torch.export.export(network, (two,), dynamic_shapes=(any_number,)), (ANY, *shape)
        except UserError:
            return torch.export.export(network, (two[:1],)), (1, *shape)


def _flow_exported(network: FlowFromImages) -> tuple[ExportedProgram, tuple[int | str, ...]]:
    """Return a network of flow for any number of pairs, of any size in multiples, and its input's shape."""
    sides = {axis: MULTIPLE * torch.export.Dim(counted) for axis, (counted, _) in FLOW_AXES.items()}
    given = torch.zeros(2, 6, 2 * MULTIPLE, 3 * MULTIPLE)
    with torch.no_grad():
        exported = torch.export.export(network, (given,), dynamic_shapes=({0: torch.export.Dim(ANY)} | sides,))
    return exported, (ANY, 6, *(side for _, side in FLOW_AXES.values()))


def _write_onnx(path: Path, exported: ExportedProgram, about: dict[str, object], names: tuple[str, str]) -> None:
    targets = [node.target for node in exported.graph.nodes if node.op == "call_function"]
    if own := [target for target in targets if getattr(target, "namespace", None) == ABOUT]:
        raise InputError(
            f"ONNX does not know {own[0].name()}, which this network computes; export it for torch.", path=path
        )
    named = {"input_names": names[:1], "output_names": names[1:]}
    model = torch.onnx.export(exported, dynamo=True, verbose=False, **named).model_proto
    _name_axes(model.graph)
    for key, value in ((ABOUT, json.dumps(about)), ("class_names", json.dumps(about["class_names"]))):
        model.metadata_props.add(key=key, value=value)
    with replacing(path) as scratch:
        scratch.write_bytes(model.SerializeToString())


def _name_axes(graph: onnx.GraphProto) -> None:
    """Give the axes of any length their words, in place of torch's symbols: `batch` for s53, `32*rows` for 32*s7."""
    words = {0: ANY} | {axis: counted for axis, (counted, _) in FLOW_AXES.items()}
    sizes = enumerate(graph.input[0].type.tensor_type.shape.dim)
    names = {symbol: words[axis] for axis, size in sizes for symbol in SYMBOL.findall(size.dim_param)}
    for value in (*graph.input, *graph.output, *graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_param = SYMBOL.sub(lambda found: names.get(found[0], found[0]), size.dim_param)
