"""params.yaml, section by section, checked when it is loaded; and where the stages put things."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Generic, Literal, TypeVar

import yaml
from pydantic import Field

from tdn_data.models import MODELS
from tdn_data.models.evaluation.evaluate import EvaluateConfig
from tdn_data.models.training.config import FLOW_LEARNERS, TrainConfig
from tdn_data.pipeline.datasets.defaults import flow_parameters, frame_parameters
from tdn_data.pipeline.datasets.registry import dataset_spec
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import read_text
from tdn_data.pipeline.limits import MAX_THREADS
from tdn_data.pipeline.parameters import (
    DemoParameters,
    ExtractParameters,
    FlowParameters,
    FrameParameters,
    ShardParameters,
    Strict,
)
from tdn_data.pipeline.shards.reader import ShardReader
from tdn_data.stages.cli import console

PARAMS = Path("params.yaml")
MANIFEST = Path("data/manifest.parquet")
SHARDS = {"rgb": Path("data/shards/rgb"), "flow": Path("data/shards/flow")}
RUNS = Path("runs")
REPORT = RUNS / "report.html"
FUSED = "fused"  # in place of a modality, where scores of both are added
MAX_PARAMS_BYTES = 1 << 24
OWN = ("tsn", "tdn")  # networks that the pipeline always trains, on frames and on flow
OTHERS = tuple(name for name in MODELS if name not in (*OWN, *FLOW_LEARNERS))  # on frames, where they are asked for
Name = TypeVar("Name", bound=str)


class DatasetSection(Strict):
    """Which data set the pipeline runs on: a name of `tdn-data datasets` and the folder where it lies.

    `list_split` is the train/test split, from 1, that is trained and tested on where the data set has several; the
    shards serve them all.
    """

    name: str
    root: str = Field(min_length=1, pattern=r"^[^\x00-\x1f]+$")
    list_split: int | None = Field(None, ge=1, le=1000)


class ExtractSection(ShardParameters):
    """What frames and flow extraction share. More than `fail_above` of the videos not ok: the stage fails.

    `retry_failed` decodes again what an earlier run could not; a raised limit does that by itself. `allow_loss` lets
    stored rows go whose videos are missing or fail now, which otherwise stops the stage.
    """

    fail_above: float = Field(0.05, ge=0, le=1)
    retry_failed: bool = False
    allow_loss: bool = False
    workers: int | None = Field(None, ge=1, le=MAX_THREADS)


class FuseSection(Strict):
    """How RGB and flow scores are weighted; Ng & Davis, section 3.3."""

    rgb: float = Field(1.0, ge=0, le=1e6)
    flow: float = Field(1.5, ge=0, le=1e6)


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
    demo: DemoParameters
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
        """Return the parameters of one network's training: `train`, with what its recipe changes.

        Raises InputError for a network that is none, pydantic's ValidationError for a recipe that does not fit.
        """
        check_word("network", model, MODELS)
        return TrainSection(train=asdict(self.train) | self.recipes.get(model, {})).train

    def extract_parameters(self, modality: str) -> ExtractParameters:
        """Return the parameters of one modality's extraction."""
        check_word("modality", modality, SHARDS)
        spec = dataset_spec(self.dataset.name)
        return ExtractParameters(
            frames=self.frames or frame_parameters(spec) if modality == "rgb" else None,
            flow=self.flow or flow_parameters(spec) if modality == "flow" else None,
            **self.extract.model_dump(include=set(ShardParameters.model_fields)),
        )

    def run_facts(
        self,
        reader: ShardReader,
        network: str,
        split: str,
        parameters: dict[str, object],
        *,
        modality: str | None = None,
    ) -> dict[str, object]:
        """Return what the record of a run on `reader` says of its data; `modality` where it is not the reader's."""
        info = reader.info
        facts = {"dataset": info.name, "class_names": tuple(info.class_names), "multi_label": info.multi_label}
        run = {"network": network, "modality": modality or reader.modality, "parameters": parameters}
        return facts | run | {"split": split, "list_split": self.dataset.list_split}

    def open_shards(self, modality: str) -> ShardReader:
        """Open the pipeline's own shards of one modality, with the train/test split that is trained and tested on."""
        check_word("modality", modality, SHARDS)
        return ShardReader(SHARDS[modality], modality=modality, list_split=self.dataset.list_split)


def run_folder(model: str, modality: str) -> Path:
    """Return where a run's results lie; raise InputError for a network or modality that is none."""
    check_word("network", model, MODELS)
    check_word("modality", modality, (*SHARDS, FUSED))
    return RUNS / f"{model}-{modality}"


def check_word(name: str, word: str, known: Iterable[str]) -> None:
    """Raise InputError unless `word` is one of the `known` ones."""
    if word not in known:
        raise InputError(f"{name} is {word!r}; it must be one of {', '.join(known)}.", key=name)


def _read_yaml(path: Path) -> dict[object, object]:
    """Return the sections of a YAML file; raise InputError for a file that holds none."""
    if not os.path.lexists(path):
        raise InputError(f"{path} is missing; run the stages from the project's folder.", path=path)
    try:
        content = yaml.safe_load(read_text(path, what="file of parameters", max_bytes=MAX_PARAMS_BYTES))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}", path=path) from error
    if not isinstance(content, dict):
        found = "nothing" if content is None else f"a {type(content).__name__}"
        raise InputError(f"{path} holds {found}; it must hold sections such as `dataset: ...`.", path=path)
    return content


def load_params(path: Path = PARAMS) -> Params:
    """Read and check params.yaml; raise InputError that names the key, the value and what is allowed."""
    content = _read_yaml(path)
    with console.checked(str(path)):
        params = Params.model_validate(content)
    for section in ("others", "with_flow"):
        for model in getattr(params, section).recipes:
            with console.checked(f"{path}, {section}.recipes.{model}"):
                params.train_config(model)
    return params
