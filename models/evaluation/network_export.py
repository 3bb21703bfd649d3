"""A trained network as one file for other programs: ONNX, or a program of torch.export.

Both take a batch of clips as they are decoded, uint8 (videos, S, K, height, width, C), normalise it and give scores
before softmax, (videos, classes); networks that look at several snippets at once take one video at a time. The file's
metadata say in JSON, under the key `tdn_data`, what else a user must know: the classes in order, how videos are sampled
and cut, the size, and the mean and deviation that are in the graph already.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch._dynamo.exc import UserError

from tdn_data.models.clips.cut import Cut
from tdn_data.models.evaluation.evaluate import check_checkpoint, restore_model
from tdn_data.models.networks.base import NUM_CHANNELS, VideoNetwork
from tdn_data.models.networks.folding import fold_norms
from tdn_data.models.weights.checkpoint import Checkpoint, read_checkpoint
from tdn_data.models.weights.trained_on import TrainedOn
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import check_output_file, file_digest, replacing

ABOUT = "tdn_data"  # the key of the metadata; torch's file has it as tdn_data.json
INPUT, OUTPUT, ANY = "clip", "scores", "videos"


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
    checkpoint: str | os.PathLike[str], *, onnx: Path | None = None, program: Path | None = None
) -> dict[str, object]:
    """Write a checkpoint's network for other programs, its normalisation inside: whole files or none.

    Args:
        checkpoint: The file, as a training wrote it.
        onnx: The file for ONNX, None for none.
        program: The file for `torch.export.load`, None for none.

    Returns:
        The metadata that both files hold: classes, the input's shape and levels, and what the network was trained on.

    Raises:
        InputError: The file is no checkpoint of this program; a package for ONNX is not installed; the network has an
            operation of this program's own (`networks.tvl1_displacement`), which a `program` may have and ONNX not.
    """
    saved = read_checkpoint(checkpoint)
    trained = check_checkpoint(saved, checkpoint)
    if onnx is not None and (missing := [name for name in ("onnx", "onnxscript") if find_spec(name) is None]):
        raise InputError(f"ONNX needs {' and '.join(missing)}; `pip install {' '.join(missing)}`.", key=missing[0])
    for path in filter(None, (onnx, program)):
        check_output_file(path, inputs=[checkpoint])
    network = fold_norms(restore_model(saved)).cpu()
    about = _about(saved, trained, network) | {"checkpoint": file_digest(checkpoint, what="checkpoint")}
    exported, num_videos = _exported(FromLevels(network, *trained.normalization).eval(), tuple(about["input"][1:]))
    about["input"][0] = num_videos
    if program is not None:
        with replacing(program) as scratch, _quiet():
            torch.export.save(exported, scratch, extra_files={f"{ABOUT}.json": json.dumps(about)})
    if onnx is not None:
        with _quiet():
            _write_onnx(onnx, exported, about)
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


def _about(saved: Checkpoint, trained: TrainedOn, network: VideoNetwork) -> dict[str, object]:
    """Return what a user of the file must know, as plain values."""
    frames = (network.num_segments, network.snippet_length, saved.clip_size, saved.clip_size)
    mean, deviation = trained.normalization
    return {
        "network": saved.model,
        "class_names": list(trained.class_names),
        "multi_label": trained.multi_label,
        "modality": trained.modality,
        "input": [ANY, *frames, NUM_CHANNELS[trained.modality]],
        "mean": list(mean),
        "deviation": list(deviation),
        "sampling": dict(trained.parameters),
        "cut": saved.cut or asdict(Cut()),
        "data_digest": trained.digest,
        "libraries": dict(trained.libraries),
    }


def _exported(network: FromLevels, shape: tuple[int, ...]) -> tuple[torch.export.ExportedProgram, int | str]:
    """Return the network for any number of clips of a shape, `videos`, or for 1 where its operations allow no other."""
    two, any_number = torch.zeros(2, *shape, dtype=torch.uint8), {0: torch.export.Dim(ANY)}
    with torch.no_grad():
        try:
            return torch.export.export(network, (two,), dynamic_shapes=(any_number,)), ANY
        except UserError:
            return torch.export.export(network, (two[:1],)), 1


def _write_onnx(path: Path, exported: torch.export.ExportedProgram, about: dict[str, object]) -> None:
    targets = [node.target for node in exported.graph.nodes if node.op == "call_function"]
    if own := [target for target in targets if getattr(target, "namespace", None) == ABOUT]:
        raise InputError(
            f"ONNX does not know {own[0].name()}, which this network computes; export it for torch.", path=path
        )
    names = {"input_names": [INPUT], "output_names": [OUTPUT]}
    model = torch.onnx.export(exported, dynamo=True, verbose=False, **names).model_proto
    for key, value in ((ABOUT, json.dumps(about)), ("class_names", json.dumps(about["class_names"]))):
        model.metadata_props.add(key=key, value=value)
    with replacing(path) as scratch:
        scratch.write_bytes(model.SerializeToString())
