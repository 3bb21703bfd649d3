"""params.yaml, section by section, checked when it is loaded; and where the stages put things."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Generic, Literal, TypeVar

import yaml
from pydantic import Field

from models import MODELS
from models.evaluate import EvaluateConfig
from models.train_config import FLOW_LEARNERS, TrainConfig
from pipeline.datasets import dataset_spec
from pipeline.datasets.defaults import flow_parameters, frame_parameters
from pipeline.errors import InputError
from pipeline.parameters import ExtractParameters, FlowParameters, FrameParameters, Limits, Strict
from pipeline.shards.reader import ShardReader
from stages import edge

PARAMS = Path("params.yaml")
MANIFEST = Path("data/manifest.parquet")
SHARDS = {"rgb": Path("data/shards/rgb"), "flow": Path("data/shards/flow")}
RUNS = Path("runs")
OWN = ("tsn", "tdn")  # networks that the pipeline always trains, on frames and on flow
OTHERS = tuple(name for name in MODELS if name not in (*OWN, *FLOW_LEARNERS))  # on frames, where they are asked for
Name = TypeVar("Name", bound=str)


class DatasetSection(Strict):
    """Which data set the pipeline runs on: a name of `tdn-data datasets` and the folder where it lies.

    `list_split` is the train/test split, from 1, that is trained and tested on where the data set has several; the
    shards serve them all.
    """

    name: str
    root: str
    list_split: int | None = Field(None, ge=1)


class DemoSection(Strict):
    """How the built-in data set is rendered."""

    seed: int = Field(0, ge=0)
    train_per_class: int = Field(60, ge=1)
    test_per_class: int = Field(25, ge=1)


class ExtractSection(Strict):
    """What frames and flow extraction share. More than `fail_above` of the videos not ok: the stage fails."""

    format: Literal["parquet", "lmdb"] = "parquet"
    videos_per_shard: int = Field(64, ge=1, le=100_000)
    fail_above: float = Field(0.05, ge=0, le=1)
    workers: int | None = Field(None, ge=1)
    limits: Limits = Limits()


class FuseSection(Strict):
    """How RGB and flow scores are weighted; Ng & Davis, section 3.3."""

    rgb: float = Field(1.0, ge=0)
    flow: float = Field(1.5, ge=0)


class NetworksSection(Strict, Generic[Name]):
    """Which networks the pipeline trains beside its own, and by network what their training changes in `train`."""

    networks: tuple[Name, ...] = ()
    recipes: dict[Name, dict[str, object]] = {}


class TrainSection(Strict):
    """How one network is trained."""

    train: TrainConfig


class Params(TrainSection):
    """The whole of params.yaml. Where `frames` or `flow` is null, they are stored as the data set's paper has it."""

    dataset: DatasetSection
    demo: DemoSection
    extract: ExtractSection
    frames: FrameParameters | None = None
    flow: FlowParameters | None = None
    others: NetworksSection[Literal[OTHERS]] = NetworksSection()
    with_flow: NetworksSection[Literal[FLOW_LEARNERS]] = NetworksSection()
    evaluate: EvaluateConfig
    fuse: FuseSection = FuseSection()

    @property
    def recipes(self) -> dict[str, dict[str, object]]:
        """What each network's training changes in `train`, where it changes something."""
        return self.others.recipes | self.with_flow.recipes

    def train_config(self, model: str) -> TrainConfig:
        """Return what the training of one network is told: `train`, with what its recipe changes.

        Raises pydantic's ValidationError for a recipe that does not fit.
        """
        return TrainSection(train=asdict(self.train) | self.recipes.get(model, {})).train

    def extract_parameters(self, modality: str) -> ExtractParameters:
        """Return what the extraction of one modality is told."""
        spec = dataset_spec(self.dataset.name)
        return ExtractParameters(
            frames=self.frames or frame_parameters(spec) if modality == "rgb" else None,
            flow=self.flow or flow_parameters(spec) if modality == "flow" else None,
            **self.extract.model_dump(include={"format", "videos_per_shard", "limits"}),
        )

    def open_shards(self, modality: str) -> ShardReader:
        """Open the pipeline's own shards of one modality, with the train/test split that is trained and tested on."""
        return ShardReader(SHARDS[modality], modality=modality, list_split=self.dataset.list_split)


def load_params(path: Path = PARAMS) -> Params:
    """Read and check params.yaml; raise InputError that names the key, the value and what is allowed."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing; run the stages from the project's folder.", path=path) from error
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}", path=path) from error
    with edge.checked(str(path)):
        params = Params.model_validate(content or {})
    for section in ("others", "with_flow"):
        for model in getattr(params, section).recipes:
            with edge.checked(f"{path}, {section}.recipes.{model}"):
                params.train_config(model)
    return params
