"""The papers' recipes: whole files of parameters whose networks can be built and whose rates are the papers'."""

from pathlib import Path

import pytest
import torch

from tdn_data.models import build_model
from tdn_data.models.networks.base import ClipShape
from tdn_data.models.training.schedule import learning_rate_at
from tdn_data.stages.params import load_params

FOLDER = Path(__file__).resolve().parents[2] / "recipes"
RUNS = [(path, name) for path in sorted(FOLDER.glob("*.yaml")) for name in load_params(path).runs]


@pytest.mark.parametrize(("path", "name"), RUNS, ids=lambda value: getattr(value, "stem", value))
def test_the_network_of_every_run_can_be_built_and_sees_the_clips_that_are_asked_for(path, name):
    params = load_params(path)
    run, config = params.run(name), params.train_config(name)
    params.test_config(name)
    with torch.device("meta"):  # shapes without values
        model = build_model(run.network, num_classes=5, **config.model_options(run.network, run.modality))
    shape = ClipShape.of(model, config.size)
    assert shape.num_segments == config.num_segments and shape.snippet_length >= 1


@pytest.mark.parametrize(
    ("recipe", "run", "rates"),
    [
        # TSN, whose schedule Ng & Davis follow on HMDB51: a tenth every 2,000 of 4,500; on flow after 12,000 and 18,000
        ("ng-davis-hmdb51", "tsn-rgb", {0: 1e-3, 1999: 1e-3, 2000: 1e-4, 3999: 1e-4, 4000: 1e-5, 4499: 1e-5}),
        ("ng-davis-hmdb51", "tsn-flow", {0: 5e-3, 11_999: 5e-3, 12_000: 5e-4, 18_000: 5e-5, 19_999: 5e-5}),
        # section 4.2, FCVID: 0.01, a tenth every 10,000 of 30,000, and 10,000 more for the whole TDN
        ("ng-davis-fcvid", "tsn-rgb", {0: 1e-2, 9999: 1e-2, 10_000: 1e-3, 19_999: 1e-3, 20_000: 1e-4, 29_999: 1e-4}),
        ("ng-davis-fcvid", "tdn-rgb", {0: 1e-2, 10_000: 1e-3, 20_000: 1e-4, 39_999: 1e-4}),
        # Zhao et al.: 0.005, a tenth after 10,000 and 16,000 of 18,000
        ("zhao-ucf101", "disentangled-rgb", {0: 5e-3, 9999: 5e-3, 10_000: 5e-4, 15_999: 5e-4, 16_000: 5e-5}),
        # dissertation, section 4.4.2: Adam with 0.0001 throughout
        ("actionflownet-ucf101", "actionflownet-rgb", {0: 1e-4, 39_999: 1e-4}),
    ],
)
def test_the_rate_at_each_moment_is_the_papers(recipe, run, rates):
    config = load_params(FOLDER / f"{recipe}.yaml").train_config(run)
    assert {step: learning_rate_at(step, config) for step in rates} == pytest.approx(rates)


def test_lengths_and_phases_are_the_papers():
    fcvid, hmdb51 = (load_params(FOLDER / f"ng-davis-{name}.yaml") for name in ("fcvid", "hmdb51"))
    tdn = fcvid.train_config("tdn-rgb")
    assert (fcvid.train_config("tsn-rgb").iterations, tdn.iterations) == (30_000, 40_000)
    assert tdn.fixed_share * tdn.iterations == 30_000  # the image subnetwork is fixed, then 10,000 iterations of all
    assert hmdb51.init_files("tdn-flow") == ("imagenet", "runs/tsn-flow/checkpoint.pt")
    assert (fcvid.train_config("tdn-rgb").num_segments, hmdb51.train_config("tdn-rgb").num_segments) == (3, 2)


def test_the_appearance_branch_has_a_rate_and_an_end_of_its_own():
    config = load_params(FOLDER / "zhao-ucf101.yaml").train_config("disentangled-rgb")
    (part,) = config.parts
    expected = {0: 1e-3, 1499: 1e-3, 1500: 1e-4, 2999: 1e-4, 3000: 1e-5, 4499: 1e-5}
    assert {step: learning_rate_at(step, config, part=part) for step in expected} == pytest.approx(expected)
    assert (part.end, config.clip_norm, config.batch_size) == (4500, 20, 256)


def test_eight_and_sixteen_frames_of_wang_are_trained_as_the_paper_has_them():
    params = load_params(FOLDER / "wang-something-v1.yaml")
    configs = [params.train_config(name) for name in ("tdn-8", "tdn-16")]
    assert [(one.num_segments, one.batch_size, one.learning_rate) for one in configs] == [
        (8, 128, 0.02),
        (16, 64, 0.01),
    ]
    assert all(one.schedule == "plateau" and one.epochs == 50 for one in configs)
