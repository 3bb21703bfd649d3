"""Small checkpoints and shards that tests of tests need."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from tdn_data.models import build_model
from tdn_data.models.weights.checkpoint import Checkpoint, save_checkpoint
from tdn_data.models.weights.trained_on import NORMALIZATION, TrainedOn
from tdn_data.pipeline.datasets.index import index_dataset
from tdn_data.pipeline.extraction.one_shard import ShardJob, extract_shard
from tdn_data.pipeline.parameters import ExtractParameters
from tdn_data.pipeline.shards.plan import plan_shards
from tdn_data.pipeline.shards.reader import ShardReader
from tdn_data.pipeline.shards.shard_folder import gather, write_folder
from tdn_data.pipeline.shards.storage import Storage

OPTIONS = {"backbone": "resnet18", "width": 8, "num_segments": 2, "modality": "rgb", "snippet_length": 1}

COLOURED = TrainedOn(
    modality="rgb",
    dataset="folder",
    class_names=("red", "green"),
    multi_label=False,
    parameters={"codec": "png"},
    normalization=NORMALIZATION["rgb"],
    digest="0",
)


def write_checkpoint(folder: Path, cut: dict[str, object] | None = None, **changes: object) -> Path:
    """Write an untrained TDN that says it was trained on the coloured videos, but for `changes`; return the file."""
    torch.manual_seed(0)
    state = build_model("tdn", num_classes=2, **OPTIONS).state_dict()
    data = replace(COLOURED, **changes).as_dict()
    save_checkpoint(Checkpoint("tdn", OPTIONS, 2, 24, state, data, cut), folder / "checkpoint.pt")
    return folder / "checkpoint.pt"


def shards_of(root: Path, out: Path, **section) -> ShardReader:
    """Return the finished shards of a folder of clips."""
    parameters, storage = ExtractParameters(**section), Storage(out)
    storage.create()
    (modality,) = parameters.modalities
    plans = [one for one in plan_shards(index_dataset("folder", root), parameters, modality) if one.records]
    names = [extract_shard(ShardJob(plan, parameters, "folder", str(root), storage)).name for plan in plans]
    write_folder(storage, gather(storage, names))
    return ShardReader(out, modality=modality)


def checkpoint_for(reader: ShardReader, path: Path) -> Path:
    """Write an untrained network that says it was trained on the shards."""
    torch.manual_seed(0)
    options = {"backbone": "resnet18", "width": 8, "num_segments": 2, "modality": reader.modality}
    state = build_model("tsn", num_classes=2, **options).state_dict()
    save_checkpoint(Checkpoint("tsn", options, 2, 40, state, TrainedOn.of(reader).as_dict()), path)
    return path
