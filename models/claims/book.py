"""claims.yaml: data sets, runs, fusions, searches, maps and claims, checked when it is loaded.

A claim is a list of steps, each a weighted sum of runs' results that the paper says is above zero: `{tdn: 1, tsn: -1}`
says that `tdn` is better than `tsn`. A `digest` names everything that decides a run, so that what is trained is found
again, and what was trained in another way is not taken for it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, TypeAdapter, model_validator

from tdn_data.models.evaluation.protocol import EvaluateConfig
from tdn_data.models.networks import MODELS
from tdn_data.models.retrieval.vlad_options import VladOptions
from tdn_data.models.training.config import TrainConfig
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.parameters import DemoParameters, FlowParameters, FrameParameters, Strict

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=60)]
Words = Annotated[str, StringConstraints(min_length=1)]
DIGITS = 10  # of a digest, in a folder's name
VERDICTS = ("holds", "fails", "undecided", "not run")


class ClaimData(Strict):
    """A variant of the built-in data set, and how its frames and flow are stored."""

    demo: DemoParameters
    rgb: FrameParameters
    flow: FlowParameters


class ClaimRun(Strict):
    """One training and its test, or with `of` another test of the training of that name."""

    data: Name | None = None
    network: Literal[tuple(MODELS)] | None = None
    modality: Literal["rgb", "flow"] = "rgb"
    of: Name | None = None
    train: dict[str, object] = {}
    test: dict[str, object] = {}

    @model_validator(mode="after")
    def _one_kind(self) -> ClaimRun:
        if (self.of is None) == (self.data is None or self.network is None):
            raise ValueError("give data and network, or of alone")
        if self.of is not None and self.train:
            raise ValueError("a run with of is not trained again; leave out train")
        return self


class ClaimFusion(Strict):
    """Scores of several runs added, seed by seed."""

    runs: dict[Name, Annotated[float, Field(gt=0)]] = Field(min_length=2)
    normalize: Literal["l1", "none", "softmax"] = "l1"


class ClaimSearch(Strict):
    """Rendered instances searched with the network that a run has trained; its result is mean average precision."""

    run: Name
    vlad: VladOptions


class ClaimMap(Strict):
    """Class activation maps of a run; its result is the share of them in the object's box (`claims.map_shares`).

    `even` is a map that is alike everywhere: the share of the frame that the box takes.
    """

    run: Name
    subnetwork: Literal["image", "difference", "even"]


class Step(Strict):
    """A sum of results, each times its weight, that a paper says is above zero, or `at_least` zero."""

    sum: dict[Name, float] = Field(min_length=2)
    at_least: bool = False


class Claim(Strict):
    """What a paper says: where, in which words of ours, with which numbers of its own, and the steps that try it.

    `missing` says why it has no steps or, as long as its runs are not there, why not.
    """

    paper: Words
    place: Words
    says: Words
    numbers: Words
    steps: tuple[Step, ...] = ()
    missing: Words | None = None
    small: bool = False  # whether it is one of the small table

    @model_validator(mode="after")
    def _something(self) -> Claim:
        if not self.steps and self.missing is None:
            raise ValueError("give steps, or missing with the reason")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The runs, fusions, searches or maps that it compares, in order."""
        return tuple(dict.fromkeys(name for step in self.steps for name in step.sum))


class Book(Strict):
    """The whole of claims.yaml."""

    seeds: tuple[int, ...] = Field(min_length=2)
    data: dict[Name, ClaimData]
    train: dict[str, object] = {}  # of all runs; a run's own go before them
    test: dict[str, object] = {}
    runs: dict[Name, ClaimRun]
    fusions: dict[Name, ClaimFusion] = {}
    searches: dict[Name, ClaimSearch] = {}
    maps: dict[Name, ClaimMap] = {}
    claims: dict[Name, Claim]

    @model_validator(mode="after")
    def _all_known(self) -> Book:
        if both := self.runs.keys() & self.fusions.keys():
            raise ValueError(f"{min(both)} is a run and a fusion; give one of them another name")
        if both := self.searches.keys() & (self.runs | self.fusions).keys():
            raise ValueError(f"{min(both)} is a search and a run or fusion; give one of them another name")
        if both := self.maps.keys() & (self.runs | self.fusions | self.searches).keys():
            raise ValueError(f"{min(both)} is a map and a run, fusion or search; give one of them another name")
        for name, run in self.runs.items():
            _known(f"runs.{name}.data", [] if run.data is None else [run.data], self.data)
            trained = {other for other, one in self.runs.items() if one.of is None}
            _known(f"runs.{name}.of", [] if run.of is None else [run.of], trained)
        for name, fusion in self.fusions.items():
            _known(f"fusions.{name}.runs", fusion.runs, self.runs)
        for kind, named in (("searches", self.searches), ("maps", self.maps)):
            for name, one in named.items():
                _known(f"{kind}.{name}.run", [one.run], [other for other, run in self.runs.items() if run.of is None])
        for name, claim in self.claims.items():
            _known(f"claims.{name}.steps", claim.names, self.runs | self.fusions | self.searches | self.maps)
            for kind in (self.searches, self.maps):
                if 0 < len(kind.keys() & set(claim.names)) < len(claim.names):
                    raise ValueError(f"claims.{name}.steps: searches are compared with searches alone, maps with maps")
        for name in self.runs:
            self.train_config(name, seed=0).check_model(self.trained(name).network)
            self.test_config(name)
            self.parents(name)
        return self

    def trained(self, name: str) -> ClaimRun:
        """Return the run whose training a run tests: itself but for one with `of`."""
        run = self.runs[name]
        return run if run.of is None else self.runs[run.of]

    def train_config(self, name: str, *, seed: int) -> TrainConfig:
        """Return how a run is trained with one seed; its `init` names runs."""
        changes = self.train | self.trained(name).train | {"seed": seed}
        return TypeAdapter(TrainConfig).validate_python(changes)

    def test_config(self, name: str) -> EvaluateConfig:
        """Return how a run is tested."""
        return TypeAdapter(EvaluateConfig).validate_python(self.test | self.runs[name].test)

    def parents(self, name: str) -> tuple[str, ...]:
        """Return the runs that must be trained before a run: those of its `init`, and of theirs, the first ones first.

        Raises ValueError for one that is no run, and where a run starts from itself.
        """
        return tuple(self._parents(name, ()))[:-1]

    def _parents(self, name: str, above: tuple[str, ...]) -> Iterator[str]:
        if name in above:
            raise ValueError(f"runs.{name}.train.init leads back to {name}")
        for parent in self.train_config(name, seed=0).init:
            _known(f"runs.{name}.train.init", [parent], [one for one, run in self.runs.items() if run.of is None])
            yield from self._parents(parent, (*above, name))
        yield name

    def runs_of(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the runs behind runs, fusions, searches and maps, each once."""
        return tuple(dict.fromkeys(one for name in names for one in self._runs_behind(name)))

    def _runs_behind(self, name: str) -> Iterable[str]:
        if name in self.searches or name in self.maps:
            return ((self.searches | self.maps)[name].run,)
        return self.fusions[name].runs if name in self.fusions else (name,)

    def trainings(self, claims: Iterable[str]) -> tuple[str, ...]:
        """Return the runs that claims train, each after those that it starts from."""
        tested = self.runs_of(name for claim in claims for name in self.claims[claim].names)
        names = (one for name in tested for one in (*self.parents(name), self.runs[name].of or name))
        return tuple(dict.fromkeys(names))

    def digest(self, name: str, *, seed: int) -> str:
        """Return what everything that decides a run's weights is called: another one, another name."""
        run, config = self.trained(name), self.train_config(name, seed=seed)
        parts = [self.data[run.data].model_dump(), run.network, run.modality, asdict(config)]
        return short_digest([*parts, *(self.digest(parent, seed=seed) for parent in config.init)])

    def chosen(self, which: str) -> tuple[str, ...]:
        """Return the claims that a word names: `all`, `small`, or names with commas between them.

        Raises InputError, which lists the known ones, for another name.
        """
        if which == "all":
            return tuple(self.claims)
        if which == "small":
            return tuple(name for name, claim in self.claims.items() if claim.small)
        for name in which.split(","):
            if name not in self.claims:
                raise InputError(f"no claim is called {name!r}; say all, small, or any of {', '.join(self.claims)}.")
        return tuple(which.split(","))


def short_digest(value: object) -> str:
    """Return the digest of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:DIGITS]


def _known(key: str, names: Iterable[str], known: Mapping | Iterable[str]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"{key}: {name!r} is not known; these are: {', '.join(known)}")
