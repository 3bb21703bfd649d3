"""The papers' recipes: their networks, rates, phases, lengths and costs are the papers'."""

from __future__ import annotations

import re
import shutil
from bisect import bisect
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml
from dvc.repo import Repo

from tdn_data.models import build_model
from tdn_data.models.networks.base import ClipShape, VideoNetwork
from tdn_data.models.networks.cost import default_clip_shape, model_cost
from tdn_data.models.training.config import TrainConfig
from tdn_data.models.training.learning_rate import learning_rate_at
from tdn_data.models.training.phases import set_phase
from tdn_data.stages.params import Params, load_params

PROJECT = Path(__file__).resolve().parents[2]
RECIPES = {path.stem: path for path in sorted((PROJECT / "recipes").glob("*.yaml"))}
PAPERS = [name for name in RECIPES if name not in ("demo-others", "own-videos")]


@cache
def params_of(recipe: str) -> Params:
    return load_params(RECIPES[recipe])


RUNS = [(recipe, run) for recipe in RECIPES for run in params_of(recipe).runs]


@cache
def network_of(recipe: str, run: str) -> VideoNetwork:
    """The network of a run, of full size: shapes without values."""
    params = params_of(recipe)
    chosen, config = params.run(run), params.train_config(run)
    with torch.device("meta"):
        return build_model(chosen.network, num_classes=5, **config.model_options(chosen.network, chosen.modality))


@pytest.mark.parametrize(("recipe", "run"), RUNS)
def test_the_network_of_every_run_can_be_built_and_sees_the_clips_that_are_asked_for(recipe: str, run: str) -> None:
    params, model = params_of(recipe), network_of(recipe, run)
    config = params.train_config(run)
    params.test_config(run)
    shape = ClipShape.of(model, config.size)
    assert shape.num_segments == config.num_segments and shape.snippet_length >= 1


@dataclass(frozen=True)
class Plan:
    """What a paper says of a training: its length, the rate from each step on, and what does not learn until when."""

    length: int
    rates: dict[int, float]
    fixed: str = "$^"  # names of parameters that stay as they are in phase one
    fixed_until: int = 0
    flow_until: int = 0  # flow alone
    late: str = "$^"  # names that stay as they are after that, or once their part has ended
    late_from: int = 0
    unit: str = "iterations"
    last: float = 1.0  # exponential: what is left of the rate at the end
    of_part: dict[int, float] | None = None  # rates of the one part that has its own
    batch: int = 128


STEPS_A_EPOCH = 7  # where a length is in epochs; any number does
TSN_RGB = {0: 1e-3, 2000: 1e-4, 4000: 1e-5}  # TSN (ECCV 2016), 4.1
TSN_FLOW = {0: 5e-3, 12_000: 5e-4, 18_000: 5e-5}
TRUNK = r"image\.(?!fc\.)"
ZHAO = Plan(
    18_000,
    {0: 5e-3, 10_000: 5e-4, 16_000: 5e-5},
    late=r"appearance\.",
    late_from=4500,
    of_part={0: 1e-3, 1500: 1e-4, 3000: 1e-5},
    batch=256,
)
FLOW_FIRST = Plan(80_000, {0: 1e-4}, flow_until=40_000)
ADAM = Plan(40_000, {0: 1e-4})
POOLING = Plan(10, {0: 1e-5}, unit="epochs", last=0.01, batch=32)
LSTM = replace(POOLING, rates={0: 30e-5})
PLANS = {  # recipe -> run, or the beginning of several runs' names -> plan
    "ng-davis-hmdb51": {
        "tsn-rgb": Plan(4500, TSN_RGB),
        "tsn-flow": Plan(20_000, TSN_FLOW),
        "tdn-rgb": Plan(6000, TSN_RGB, TRUNK, 4500),
        "tdn-flow": Plan(26_667, TSN_FLOW, r"image\.", 20_000),
    },
    "ng-davis-fcvid": {  # 4.2
        "tsn-rgb": Plan(30_000, {0: 1e-2, 10_000: 1e-3, 20_000: 1e-4}),
        "tdn-rgb": Plan(40_000, {0: 1e-2, 10_000: 1e-3, 20_000: 1e-4}, TRUNK, 30_000),
    },
    "wang-something-v1": {  # 4.1
        "tdn-8": Plan(50, {0: 0.02}, unit="epochs"),
        "tdn-16": Plan(50, {0: 0.01}, unit="epochs", batch=64),
    },
    "wang-kinetics400": {
        "tdn-8": Plan(100, {0: 0.02}, unit="epochs"),
        "tdn-16": Plan(100, {0: 0.01}, unit="epochs", batch=64),
    },
    "wang-ucf101": {"tdn-16": Plan(25, {0: 1e-3, 10: 1e-4, 20: 1e-5}, unit="epochs", batch=64)},
    "zhao-ucf101": {"disentangled-rgb": ZHAO},
    "zhao-kinetics-ucf101": {"disentangled-rgb": ZHAO},
    "zhao-kinetics400": {"disentangled-rgb": Plan(110_000, {0: 1e-2, 40_000: 1e-3, 80_000: 1e-4}, batch=256)},
    "ng-sports1m": {"lstm-fc": replace(LSTM, fixed=r"backbone\.", fixed_until=10), "lstm": LSTM, "": POOLING},
    "ng-ucf101": {"lstm": LSTM, "": POOLING},
    "actionflownet-ucf101": {  # 4.4.2
        "scratch": ADAM,
        "imagenet": ADAM,
        "stacked": replace(FLOW_FIRST, late=r"flownet\.", late_from=40_000),
        "": FLOW_FIRST,
    },
    "actionflownet-hmdb51": {"stacked": replace(ADAM, late=r"flownet\."), "": ADAM},
}
PLANS |= {
    "ng-davis-act": PLANS["ng-davis-hmdb51"],
    "wang-something-v2": PLANS["wang-something-v1"],
    "wang-hmdb51": PLANS["wang-ucf101"],
}


def plan_of(recipe: str, run: str) -> Plan:
    return next(plan for name, plan in PLANS[recipe].items() if run.startswith(name))


def value_at(step: float, values: dict[int, float]) -> float:
    return list(values.values())[bisect(list(values), step) - 1]


@pytest.mark.parametrize("recipe", PAPERS)
def test_rates_and_phases_at_every_step_are_the_papers(recipe: str) -> None:
    for run in params_of(recipe).runs:
        plan, config = plan_of(recipe, run), params_of(recipe).train_config(run)
        assert (config.unit, config.length, config.batch_size) == (plan.unit, plan.length, plan.batch), run
        moments = moments_of(plan)
        check_rates(plan, moments, *(getattr(config, name) for name in RATE_FIELDS))
        kinds = [kind for kind, length in config.kinds for _ in range(length)]
        flow_only = [kind == "flow" for kind in kinds]
        assert flow_only == [epoch < plan.flow_until for epoch in range(plan.length)], run
        states = {(config.stays_at(moment), flow_only[int(moment)]): moment for moment in moments}
        for moment in sorted({*states.values(), *(min(m for m in moments if m >= at) for at in starts(plan))}):
            check_learning(network_of(recipe, run), config, plan, moment, flow_only[int(moment)])


RATE_FIELDS = ("learning_rate", "schedule", "lr_steps", "lr_end", "warmup", "iterations", "epochs", "parts")


def moments_of(plan: Plan) -> list[float]:
    """The moments of all steps, in the plan's unit."""
    if plan.unit == "iterations":
        return list(range(plan.length))
    return [step / STEPS_A_EPOCH for step in range(plan.length * STEPS_A_EPOCH)]


CHECKED: set[tuple] = set()  # what was compared already; 80,000 steps take a second


def check_rates(plan: Plan, moments: list[float], *values: object) -> None:
    """Compare the rates at all steps with the plan's; once for the same ones."""
    key = (plan.length, tuple(plan.rates.items()), values)
    if key in CHECKED:
        return
    CHECKED.add(key)
    config = TrainConfig(**dict(zip(RATE_FIELDS, values, strict=True)), validation_share=0.1)
    expected = [value_at(moment, plan.rates) * plan.last ** (moment / plan.length) for moment in moments]
    assert [learning_rate_at(moment, config) for moment in moments] == pytest.approx(expected, rel=1e-9)
    if plan.of_part is not None:
        rates = [learning_rate_at(moment, config, part=config.parts[0]) for moment in range(plan.late_from)]
        assert rates == pytest.approx([value_at(moment, plan.of_part) for moment in range(plan.late_from)])


def starts(plan: Plan) -> set[int]:
    """The moments at which something changes."""
    return {at for at in (0, plan.fixed_until, plan.flow_until, plan.late_from) if at < plan.length}


def check_learning(model: VideoNetwork, config: TrainConfig, plan: Plan, moment: float, flow_only: bool) -> None:
    """Put a network into its state at a moment and compare which of its parameters learn with the plan."""
    image_fixed, ended = config.stays_at(moment)
    phase = {"image_fixed": image_fixed, "ended": ended, "flow_only": flow_only}
    set_phase(model, **phase, partial_bn=config.partial_bn, fixed=config.fixed, free=config.free)
    stays = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    patterns = [plan.fixed] * (moment < plan.fixed_until) + [plan.late] * (moment >= plan.late_from)
    expected = {name for name, _ in model.named_parameters() if any(re.match(one, name) for one in patterns)}
    assert stays == expected, (moment, sorted(stays ^ expected)[:3])


def test_two_and_three_snippets_and_the_papers_starts() -> None:
    hmdb51, act, fcvid = (params_of(f"ng-davis-{name}") for name in ("hmdb51", "act", "fcvid"))
    assert [one.train_config("tdn-rgb").num_segments for one in (hmdb51, act, fcvid)] == [2, 3, 3]  # 4.2
    assert hmdb51.init_files("tdn-flow") == ("imagenet", "runs/tsn-flow/checkpoint.pt")  # 3.4
    sports = params_of("ng-sports1m")
    chain = [("conv-120", 120, "conv-30"), ("conv-30", 30, "single-googlenet"), ("lstm-30-flow", 30, "lstm-30")]
    for run, num_frames, start in chain:  # 3.3.3, 3.3.4
        config = sports.train_config(run)
        assert (config.num_segments, config.cut, config.init) == (num_frames, "consecutive", (start,))
    assert params_of("zhao-ucf101").train_config("disentangled-rgb").clip_norm == 20


@pytest.mark.parametrize(("run", "published"), [("tdn-8", 36e9), ("tdn-16", 72e9)])
def test_the_cost_of_wangs_networks_is_the_tables(run: str, published: float) -> None:
    model = network_of("wang-something-v1", run)
    assert model_cost(model, default_clip_shape(model)).multiply_adds == pytest.approx(published, rel=0.02)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the project's stages, for DVC alone."""
    folder = tmp_path_factory.mktemp("recipes")
    shutil.copy(PROJECT / "dvc.yaml", folder)
    Repo.init(str(folder), no_scm=True).close()
    return folder


@pytest.mark.parametrize("recipe", RECIPES)
def test_dvc_reads_a_recipe_and_hashes_no_data_set(pipeline: Path, recipe: str) -> None:
    params = params_of(recipe)
    shutil.copy(RECIPES[recipe], pipeline / "params.yaml")
    with Repo(str(pipeline)) as repo:
        stages = {stage.name: stage for stage in repo.index.stages}
    assert {f"train@{run}" for run in params.runs} | {f"fuse@{name}" for name in params.fusions} < stages.keys()
    root = pipeline / params.dataset.root
    deps = {Path(dep.fs_path) for stage in stages.values() for dep in stage.deps}
    assert params.demos or not any(root.is_relative_to(dep) for dep in deps)


def test_dvc_follows_both_checkpoints_that_a_run_starts_from(pipeline: Path) -> None:
    content = yaml.safe_load(RECIPES["demo-others"].read_text())
    starts = [f"runs/{name}/checkpoint.pt" for name in list(content["runs"])[:2]]
    content["runs"]["both"] = {**content["runs"]["disentangled-rgb"], "after": starts}
    (pipeline / "params.yaml").write_text(yaml.safe_dump(content))
    with Repo(str(pipeline)) as repo:
        (stage,) = (stage for stage in repo.index.stages if stage.name == "train@both")
        deps = {str(dep) for dep in stage.deps}
    assert deps >= set(starts)
