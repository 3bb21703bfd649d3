"""params.yaml, section by section, checked when it is loaded; and where the stages put things."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Discriminator, Field, StringConstraints, Tag, model_validator

from tdn_data.models import MODELS
from tdn_data.models.evaluation.flow_solver import with_network
from tdn_data.models.evaluation.protocol import EvaluateConfig
from tdn_data.models.training.config import TrainConfig
from tdn_data.models.weights.published import IMAGENET
from tdn_data.pipeline.datasets.defaults import flow_parameters, frame_parameters
from tdn_data.pipeline.datasets.registry import dataset_spec, require_kind
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
from tdn_data.pipeline.shards.ledger import DATASET_NAME
from tdn_data.pipeline.shards.reader import ShardReader
from tdn_data.stages.cli import console

PARAMS = Path("params.yaml")
SHARDS = Path("data/shards")  # a folder for each data set: its manifest, its shards, and what they hold in a line
RUNS, FUSIONS = Path("runs"), Path("fusions")
REPORT = Path("report/report.html")
SNAPSHOTS = Path("snapshots")  # of trainings that are not done yet; no output of DVC's
MAX_PARAMS_BYTES = 1 << 24
CODE = "models"  # what a run follows that starts from nothing
MODALITIES = ("rgb", "flow")

RunName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_][a-z0-9_-]*$", max_length=100)]  # DVC breaks on dots


def _or_folder(kind: type[FrameParameters]) -> object:
    """Return the type of a section of parameters or, in its place, a text; what is wrong is said of the one given."""
    kinds = Annotated[kind, Tag("<parameters>")] | Annotated[str, StringConstraints(min_length=1), Tag("<folder>")]
    return Annotated[kinds, Discriminator(lambda value: "<folder>" if isinstance(value, str) else "<parameters>")]


class DatasetSection(Strict):
    """Which data set the pipeline runs on: a name of `tdn-data datasets` and the folder where it lies.

    `lists` is the file or folder of its own lists: where it changes, the videos are indexed again. `list_split` is the
    train/test split, from 1, that is trained and tested on where the data set has several; the shards serve them all.
    """

    name: str
    root: str = Field(min_length=1, pattern=r"^[^\x00-\x1f]+$")
    lists: str = Field(min_length=1, pattern=r"^[^\x00-\x1f]+$")
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


class Shards(Strict):
    """How each modality is stored: its parameters, `{}` for those of the set's paper; what is left out is not made.

    A text in their place is a folder that `tdn-data extract` made, which is read as it is.
    """

    rgb: _or_folder(FrameParameters) | None = None
    flow: _or_folder(FlowParameters) | None = None

    @model_validator(mode="after")
    def _something(self) -> Shards:
        given = self.model_fields_set
        if not given or any(getattr(self, name) is None for name in given):
            raise ValueError("name rgb, flow or both, each with its parameters; leave out what is not to be made")
        return self


class Defaults(Strict):
    """What all runs have in common: how they are trained and tested."""

    train: dict[str, object] = {}
    test: dict[str, object] = {}


class Run(Strict):
    """One training and its test.

    `train` and `test` are what this run changes in the defaults. `reads` names the shards that training reads, twice
    the same where it reads one kind, and `after` the checkpoint or file of weights that it starts from, or `models` for
    none: DVC, which cannot see into `init`, makes its dependencies of these two. A run that starts from several others
    names two checkpoints there, the first and the last of a list being all that DVC can ask for; a third run must be
    one that these start from.
    """

    network: Literal[tuple(MODELS)]
    modality: Literal[MODALITIES]
    reads: tuple[Literal[MODALITIES], Literal[MODALITIES]]
    after: tuple[str, ...] = Field(min_length=1, max_length=2)
    train: dict[str, object] = {}
    test: dict[str, object] = {}


class Fusion(Strict):
    """Scores of several runs added with weights; Ng & Davis, section 3.3: RGB and flow 1 to 1.5 after l1.

    `softmax` adds probabilities in place of scores before softmax.
    """

    runs: dict[RunName, Annotated[float, Field(ge=0, le=1e6)]] = Field(min_length=2)
    normalize: Literal["l1", "none", "softmax"] = "l1"


class Params(Strict):
    """The whole of params.yaml."""

    dataset: DatasetSection
    demos: dict[RunName, DemoParameters] = {}
    extract: ExtractSection = ExtractSection()
    shards: Shards
    defaults: Defaults = Defaults()
    runs: dict[RunName, Run]
    fusions: dict[RunName, Fusion] = {}

    def run(self, name: str) -> Run:
        """Return one run; raise InputError that lists the known ones for another name."""
        check_word("run", name, self.runs)
        return self.runs[name]

    def train_config(self, name: str) -> TrainConfig:
        """Return the parameters of a run's training: the defaults with what it changes, runs in `init` as their files.

        Raises InputError that names the key and the value for what does not fit.
        """
        run = self.run(name)
        config = _merged(_Train, self.defaults.train, run.train, f"runs.{name}")
        with console.wrong_arguments():
            config.check_model(run.network)
        return config

    def test_config(self, name: str) -> EvaluateConfig:
        """Return the protocol of a run's test: the defaults with what it changes."""
        return _merged(_Test, self.defaults.test, self.run(name).test, f"runs.{name}")

    def init_files(self, name: str) -> tuple[str, ...]:
        """Return the files that a run starts from: `init` with the names of runs as their checkpoints."""
        return tuple(str(checkpoint(one)) if one in self.runs else one for one in self.train_config(name).init)

    def extract_parameters(self, modality: str) -> ExtractParameters | None:
        """Return the parameters of one modality's extraction, None where finished shards are read as they are."""
        section = self._section(modality)
        if isinstance(section, str):
            return None
        spec = dataset_spec(self.dataset.name)
        if not section.model_fields_set:
            section = frame_parameters(spec) if modality == "rgb" else flow_parameters(spec)
        shared = self.extract.model_dump(include=set(ShardParameters.model_fields))
        if modality == "rgb":
            return ExtractParameters(frames=section, **shared)
        flow, network = with_network(section)
        return ExtractParameters(flow=flow, network=network, **shared)

    @property
    def store(self) -> Path:
        """The folder of what is made of this data set's videos."""
        return SHARDS / self.dataset.name

    @property
    def manifest(self) -> Path:
        """The file that lists the videos."""
        return self.store / "manifest.parquet"

    def shard_folder(self, modality: str) -> Path:
        """Return where the shards of a modality lie."""
        section = self._section(modality)
        return Path(section) if isinstance(section, str) else self.store / modality

    def shard_summary(self, modality: str) -> Path:
        """Return the small file that changes where the shards of a modality do: DVC's output in their place."""
        return self.store / f"{modality}.json"

    def open_shards(self, modality: str) -> ShardReader:
        """Open the shards of one modality, with the train/test split that is trained and tested on."""
        folder = self.shard_folder(modality)
        if not isinstance(self._section(modality), str) and not (folder / DATASET_NAME).exists():
            raise InputError(
                f"{folder} holds no finished shards; `dvc repro --force extract@{modality}` makes them.", path=folder
            )
        return ShardReader(folder, modality=modality, list_split=self.dataset.list_split)

    def run_facts(self, name: str, reader: ShardReader, split: str, parameters: Mapping[str, object]) -> dict:
        """Return what the record of a run on `reader` says of it and its data."""
        info, run = reader.info, self.run(name)
        data = {"dataset": info.name, "class_names": tuple(info.class_names), "multi_label": info.multi_label}
        data |= {"split": split, "list_split": self.dataset.list_split}
        return {"name": name, "network": run.network, "modality": run.modality, "parameters": parameters} | data

    def stored(self) -> tuple[str, ...]:
        """Return the modalities that there are shards of."""
        return tuple(modality for modality in MODALITIES if getattr(self.shards, modality) is not None)

    def _section(self, modality: str) -> FrameParameters | FlowParameters | str:
        check_word("modality", modality, self.stored())
        return getattr(self.shards, modality)


class _Train(Strict):
    train: TrainConfig


class _Test(Strict):
    test: EvaluateConfig


def _merged(kind: type[Strict], defaults: Mapping[str, object], changes: Mapping[str, object], source: str):
    """Return a configuration made of the defaults and a run's changes; InputError names the key of what is wrong."""
    (key,) = kind.model_fields
    with console.checked(f"{PARAMS}, {source}"):
        return getattr(kind.model_validate({key: {**defaults, **changes}}), key)


def checkpoint(run: str) -> Path:
    """Return where a run's checkpoint lies."""
    return RUNS / run / "checkpoint.pt"


def trained(folder: Path, name: str) -> Path:
    """Return the checkpoint in a run's folder; raise InputError with how to train it where there is none."""
    path = folder / checkpoint(name).name
    if not path.is_file():
        if folder.resolve().parent == FUSIONS.resolve():
            words = "it is a fusion, which has no network of its own; name one of its runs"
        else:
            words = f"it is not trained yet; `dvc repro train@{folder.name}` trains it, and `dvc checkout` fetches it"
        raise InputError(f"{name} has no {path.name}: {words}.", path=path)
    return path


def check_word(name: str, word: str, known: Iterable[str]) -> None:
    """Raise InputError unless `word` is one of the `known` ones."""
    if word not in known:
        raise InputError(f"{name} is {word!r}; it must be one of {', '.join(known)}.", key=name)


def read_yaml(path: Path) -> dict[object, object]:
    """Return the sections of a YAML file; raise InputError for a file that holds none."""
    if not os.path.lexists(path):
        raise InputError(f"{path} is missing; run the stages from the project's folder.", path=path)
    try:
        content = yaml.safe_load(read_text(path, what="file of parameters", max_bytes=MAX_PARAMS_BYTES))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}", path=path) from error
    if not isinstance(content, dict):
        found = "nothing" if content is None else f"a value of the type {type(content).__name__}"
        raise InputError(f"{path} holds {found}; it must hold sections such as `dataset: ...`.", path=path)
    return content


def load_params(path: Path = PARAMS) -> Params:
    """Read and check params.yaml; raise InputError that names the key, the value and what is allowed."""
    content = read_yaml(path)
    with console.checked(str(path)):
        params = Params.model_validate(content)
    require_kind(dataset_spec(params.dataset.name), "videos")
    _merged(_Train, params.defaults.train, {}, "defaults")
    _merged(_Test, params.defaults.test, {}, "defaults")
    for name, run in params.runs.items():
        _check_run(params, name, run)
    for name, fusion in params.fusions.items():
        _check_fusion(params, name, fusion)
    return params


def _check_run(params: Params, name: str, run: Run) -> None:
    """Raise InputError that names the key where a run's parts do not fit each other or those of other runs."""
    config = params.train_config(name)
    params.test_config(name)
    read = {run.modality, "flow"} if config.needs_flow else {run.modality}
    if set(run.reads) != read:
        raise _wrong(name, "reads", f"{list(run.reads)}, and its training reads {' and '.join(sorted(read))}")
    for modality in read - set(params.stored()):
        raise _wrong(name, "reads", f"{list(run.reads)}, and shards.{modality} is null: nothing stores it")
    files_of_runs = {os.path.abspath(checkpoint(one)): one for one in params.runs}
    for one in config.init:
        if (of := files_of_runs.get(os.path.abspath(one))) is not None:
            raise _wrong(name, "train.init", f"{one!r}, which is the file of a run; write the run's name, {of}")
    for one in config.init:
        if one not in params.runs and "/" not in one and "." not in one and one != IMAGENET:
            raise _wrong(name, "train.init", f"{one!r}, which is no run ({', '.join(params.runs)}) and no file")
    _check_no_circle(params, name, ())
    _check_after(params, name, run, config)


def _check_after(params: Params, name: str, run: Run, config: TrainConfig) -> None:
    """Raise InputError where `after` does not make DVC train a run again when what it starts from has changed."""
    files = [one for one in config.init if one not in params.runs and one != IMAGENET]
    last = _last_parents(params, name)
    expected = [[str(checkpoint(one)) for one in last]] if last else [[one] for one in (CODE, *files)]
    if len(last) > 2:
        words = f"{list(config.init)}, of which DVC can follow two; let one of {', '.join(last)} start from another one"
        raise _wrong(name, "train.init", words)
    if sorted(run.after) not in [sorted(one) for one in expected]:
        words = " or ".join(f"[{', '.join(one)}]" for one in expected)
        raise _wrong(name, "after", f"{list(run.after)}; for train.init {list(config.init)} it must be {words}")


def _parents(params: Params, name: str) -> tuple[str, ...]:
    """Return the runs that a run starts from."""
    return tuple(one for one in params.train_config(name).init if one in params.runs)


def _last_parents(params: Params, name: str) -> tuple[str, ...]:
    """Return the runs that a run starts from, without those that another one of these starts from in its turn."""
    parents = tuple(dict.fromkeys(_parents(params, name)))
    behind = {one for parent in parents for one in _ancestors(params, parent)}
    return tuple(one for one in parents if one not in behind)


def _ancestors(params: Params, name: str) -> set[str]:
    """Return the runs behind a run, however far; there must be no circle."""
    parents = _parents(params, name)
    return {*parents, *(one for parent in parents for one in _ancestors(params, parent))}


def _check_no_circle(params: Params, name: str, above: tuple[str, ...]) -> None:
    """Raise InputError where a run starts from itself, be it by way of others."""
    if name in above:
        raise _wrong(above[0], "train.init", f"a circle: {' <- '.join([*above, name])}")
    for parent in _parents(params, name):
        _check_no_circle(params, parent, (*above, name))


def _check_fusion(params: Params, name: str, fusion: Fusion) -> None:
    """Raise InputError where a fusion has a run's name, adds what is no run, or adds nothing."""
    if name in params.runs:
        raise InputError(f"{PARAMS}: {name} is a run and a fusion; give the fusion another name.", key=name)
    for run in fusion.runs:
        if run not in params.runs:
            raise InputError(
                f"{PARAMS}, fusions.{name}.runs: {run!r} is no run; these are: {', '.join(params.runs)}.", key=name
            )
    if not sum(fusion.runs.values()):
        raise InputError(f"{PARAMS}, fusions.{name}.runs: all weights are 0.", key=name)


def _wrong(run: str, key: str, words: str) -> InputError:
    return InputError(f"{PARAMS}, runs.{run}.{key} is {words}.", key=run)
