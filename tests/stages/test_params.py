import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tdn_data.models import MODELS
from tdn_data.pipeline.errors import InputError
from tdn_data.stages.params import PARAMS, load_params

CONTENT = yaml.safe_load(PARAMS.read_text()) if PARAMS.exists() else {}
RECIPES = sorted((Path(__file__).resolve().parents[2] / "recipes").glob("*.yaml"))


def with_changes(content, key, changes):
    """The content with `changes` in the section `key`, e.g. runs.tdn-rgb."""
    first, _, rest = key.partition(".")
    inner = with_changes(content[first], rest, changes) if rest else {**content[first], **changes}
    return {**content, first: inner}


@pytest.fixture
def changed(tmp_path):
    """Write the project's params.yaml with one section changed, and return its path."""

    def write(key, **changes):
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(with_changes(CONTENT, key, changes)))
        return path

    return write


def test_the_projects_own_parameters_are_valid():
    params = load_params()
    assert params.dataset.name == "demo" and params.extract_parameters("flow").modalities == ("flow",)


@pytest.mark.parametrize(
    ("section", "changes", "message"),
    [
        ("defaults.train", {"epoch": 3}, "defaults: train.epoch: unknown key"),
        ("defaults.train", {"epochs": "many"}, r"defaults: train.epochs: input should be a valid integer.*'many'"),
        ("defaults.train", {"epochs": -1}, "epochs is -1; it must be from 1 to 1,000,000"),
        ("defaults.train", {"learning_rate": float("nan")}, "learning_rate"),
        ("defaults.train", {"seed": 10**19}, r"seed is 10{19}; it must be from 0 to"),
        ("defaults.test", {"num_crops": 5}, "num_crops is 5; it must be 1, 3 or 10"),
        ("defaults.test", {"max_missing_share": float("nan")}, "max_missing_share"),
        ("shards.rgb", {"height": 8}, r"shards\.rgb\.height: input should be greater than or equal to 16 \(is 8\)"),
        ("shards.rgb", {"height": None}, "height and width go together"),
        ("shards.rgb", {"short_side": 256}, "short_side excludes height and width; set it or them to null"),
        ("shards.rgb", {"fps": 3, "every_seconds": 3}, "every_seconds and fps exclude each other; give"),
        ("shards.rgb", {"fps": float("inf"), "every_seconds": None}, "fps: input should be a finite number"),
        ("shards.flow", {"method": "horn-schunck"}, r"method is 'horn-schunck'; it must be one of tvl1"),
        ("shards", {"flow": None}, "leave out what is not to be made"),
        ("shards", {"depth": {}}, r"shards\.depth: unknown key"),
        ("extract", {"fail_above": float("nan")}, r"extract\.fail_above: input should be a finite number"),
        ("extract", {"limits": {"seconds_per_video": float("inf")}}, r"limits\.seconds_per_video: .* finite number"),
        ("extract", {"limits": {"memory_bytes": 10**20}}, r"limits\.memory_bytes: input should be less than"),
        ("extract", {"workers": 10**6}, r"extract\.workers: input should be less than or equal to 1024"),
        ("extract", {"format": "zip"}, r"extract\.format: input should be 'parquet' or 'lmdb'"),
        ("demos.demo", {"seed": 10**19}, r"demos\.demo\.seed: input should be less than"),
        ("dataset", {"root": ""}, r"dataset\.root: string should have at least 1 character"),
        ("dataset", {"root": "a\0b"}, r"dataset\.root: string should match pattern"),
        ("runs", {"a.b": CONTENT["runs"]["tdn-rgb"]}, r"runs\.a\.b.*string should match pattern"),
        ("runs.tdn-rgb", {"network": "tsm"}, r"runs\.tdn-rgb\.network: input should be 'tsn'"),
        ("runs.tdn-rgb", {"train": {"epochs": 0}}, r"runs.tdn-rgb: train.*epochs is 0; it must be"),
        (
            "runs.tdn-rgb",
            {"train": {"backbone": "resnet19"}},
            r"train\.backbone: input should be 'resnet18', .*'resnet19'",
        ),
        (
            "runs.tdn-rgb",
            {"train": {"taps": ["x"]}},
            r"taps is \('x',\); it must start with 'input', then .* conv1, res2",
        ),
        ("runs.tdn-rgb", {"train": {"taps": ["input", "res9"]}}, r"taps is \('input', 'res9'\); .* any of: conv1"),
        ("runs.tdn-rgb", {"train": {"combination": "x"}}, r"train\.combination: input should be 'sum', 'conv1x1' or"),
        ("runs.tdn-rgb", {"train": {"flow_pairs": "x"}}, r"train\.flow_pairs: input should be 'flying-chairs' or"),
        ("dataset", {"name": "hmdb"}, "unknown data set 'hmdb'.*hmdb51"),
        ("dataset", {"name": "holidays"}, "unknown data set 'holidays'"),
        ("dataset", {"name": "sintel"}, "sintel is a data set of .*, not"),
        ("runs.tdn-rgb", {"train": {"epoch": 2}}, "runs.tdn-rgb: train.epoch: unknown key"),
        ("runs.tdn-rgb", {"test": {"num_crops": 2}}, "runs.tdn-rgb: test.*num_crops is 2"),
        ("runs.tsn-rgb", {"train": {"fixed_share": 0.5}}, "fixed_share is 0.5; tsn has no image subnetwork that could"),
        ("runs.tdn-rgb", {"train": {"flow_share": 0.5}}, "tdn does not learn flow"),
        ("runs.tdn-rgb", {"reads": ["flow", "flow"]}, r"runs\.tdn-rgb\.reads is .*, and its training reads rgb"),
        ("runs.tdn-rgb", {"reads": ["rgb"]}, r"runs\.tdn-rgb\.reads"),
        ("runs.tdn-rgb", {"train": {"init": ["tsn-rbg"]}}, r"train\.init is 'tsn-rbg', which is no run \(tdn-flow"),
        ("runs.tdn-rgb", {"train": {"init": ["tsn-rgb"]}}, r"after is \['models'\]; .* must be \[runs/tsn-rgb/check"),
        ("runs.tdn-rgb", {"after": ["runs/tsn-rgb/checkpoint.pt"]}, r"for train\.init \[\] it must be \[models\]"),
        (
            "runs.tdn-rgb",
            {"after": ["runs/tdn-rgb/checkpoint.pt"], "train": {"init": ["tdn-rgb"]}},
            "a circle: tdn-rgb <- tdn-rgb",
        ),
        (
            "runs.tdn-rgb",
            {"after": ["runs/tdn-rgb/checkpoint.pt"], "train": {"init": ["./runs/tdn-rgb/checkpoint.pt"]}},
            "the file of a run; write the run's name, tdn-rgb",
        ),
        ("runs", {"-h": {}}, r"runs\.-h.*should match pattern"),
        (
            "fusions.tdn-fused",
            {"runs": {"tdn-rgb": 1.0, "tdn-depth": 1.0}},
            "'tdn-depth' is no run; these are",
        ),
        ("shards", {"rgb": ""}, r"shards\.rgb: string should have at least 1 character"),
        ("fusions", {"tsn-rgb": CONTENT["fusions"]["tdn-fused"]}, "tsn-rgb is a run and a fusion; give the fusion"),
        ("fusions.tdn-fused", {"runs": {"tdn-rgb": 1.0}}, r"fusions\.tdn-fused\.runs: .*at least 2"),
        ("fusions.tdn-fused", {"runs": {"tdn-rgb": 0.0, "tdn-flow": 0.0}}, "all weights are 0"),
        ("fusions.tdn-fused", {"runs": {"tdn-rgb": 1.0, "tdn-flow": float("inf")}}, "should be a finite number"),
    ],
)
def test_a_wrong_parameter_is_named_with_its_value(changed, section, changes, message):
    with pytest.raises(InputError, match=message):
        load_params(changed(section, **changes))


def test_shards_without_parameters_are_sampled_as_the_data_sets_paper_has_it(tmp_path):
    content = CONTENT | {"shards": {"rgb": {}, "flow": {}}, "dataset": {"name": "fcvid", "root": "x", "lists": "x"}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(content))
    params = load_params(tmp_path / "own.yaml")
    assert params.extract_parameters("rgb").frames.every_seconds == 3
    assert params.extract_parameters("flow").flow.fps == 15
    assert load_params().extract_parameters("rgb").frames.size == (64, 64)


def test_what_is_not_stored_can_be_read_by_no_run(tmp_path):
    content = {**CONTENT, "shards": {"rgb": CONTENT["shards"]["rgb"]}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match="runs.tdn-flow.reads is .*nothing stores it"):
        load_params(tmp_path / "own.yaml")


def test_shards_that_are_gone_are_made_by_the_command_that_is_named(tmp_path, monkeypatch):
    params = load_params()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="holds no finished shards; `dvc repro --force extract@flow` makes them"):
        params.open_shards("flow")


def test_finished_shards_are_read_as_they_are(changed):
    params = load_params(changed("shards", rgb="/data/finished"))
    assert params.extract_parameters("rgb") is None and str(params.shard_folder("rgb")) == "/data/finished"


def test_a_run_goes_before_the_defaults(changed):
    params = load_params(changed("runs.tdn-rgb", train={"epochs": 7, "optimizer": "adam"}, test={"num_clips": 3}))
    assert params.train_config("tdn-rgb") == replace(params.train_config("tsn-rgb"), epochs=7, optimizer="adam")
    assert params.test_config("tdn-rgb") == replace(params.test_config("tdn-flow"), num_clips=3)


def test_a_run_starts_from_the_checkpoint_of_another(changed):
    start = {"train": {"init": ["tsn-rgb"]}, "after": ["runs/tsn-rgb/checkpoint.pt"]}
    params = load_params(changed("runs.tdn-rgb", **start))
    assert params.init_files("tdn-rgb") == ("runs/tsn-rgb/checkpoint.pt",)


BRANCH = {"network": "disentangled", "modality": "rgb", "reads": ["rgb", "rgb"]}


def branch_runs(*, full, motion=("appearance",)):
    """Runs of three branches, of which motion starts from the ones named, and a run of all that starts from them."""
    files = [f"runs/{name}/checkpoint.pt" for name in motion] or ["models"]
    return {
        "appearance": BRANCH | {"after": ["models"]},
        "motion": BRANCH | {"after": files, "train": {"init": list(motion)}},
        "change": BRANCH | {"after": ["models"]},
        "full": BRANCH | {"after": full, "train": {"init": ["appearance", "motion", "change"]}},
    }


BOTH = ["runs/motion/checkpoint.pt", "runs/change/checkpoint.pt"]


@pytest.mark.parametrize("after", [BOTH, BOTH[::-1]])
def test_a_run_starts_from_several_others(changed, after):
    params = load_params(changed("runs", **branch_runs(full=after)))
    assert params.init_files("full") == ("runs/appearance/checkpoint.pt", *BOTH)


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        (
            branch_runs(full=BOTH[:1]),
            r"full\.after is .*must be \[runs/motion/checkpoint.pt, runs/change/checkpoint.pt\]",
        ),
        (branch_runs(full=[*BOTH, "models"]), r"runs\.full\.after: .*at most 2"),
        (branch_runs(full=BOTH, motion=()), "DVC can follow two; let one of appearance, motion, change start from"),
        (branch_runs(full=BOTH, motion=("full",)), "a circle: full <- motion <- full"),
    ],
)
def test_what_a_run_that_starts_from_several_must_follow_is_said(changed, runs, message):
    with pytest.raises(InputError, match=message):
        load_params(changed("runs", **runs))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_a_whole_file_of_parameters(path):
    params = load_params(path)
    for name, run in params.runs.items():
        config = params.train_config(name)
        assert config.needs_flow == (len(set(run.reads)) > 1)


def test_every_network_has_a_run_in_a_recipe():
    networks = {run.network for path in (PARAMS, *RECIPES) for run in load_params(path).runs.values()}
    assert networks == MODELS.keys()


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(InputError, match="absent.yaml is missing"):
        load_params(tmp_path / "absent.yaml")
    (tmp_path / "broken.yaml").write_text("train: [")
    with pytest.raises(InputError, match="broken.yaml is not valid YAML"):
        load_params(tmp_path / "broken.yaml")
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(InputError, match="empty.yaml holds nothing; it must hold sections"):
        load_params(tmp_path / "empty.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- a\n", "holds a value of the type list; it must hold sections"),
        (b"3", "holds a value of the type int;"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b"a: \0", "holds NUL bytes"),
        (b"demo: {}\n", "dataset: missing"),
        (b"1: 2\n", "1: keys should be strings"),
        (b"[" * 5000, "is not valid YAML"),
        (b"a: " + b"9" * 5000, "is not valid YAML"),
    ],
)
def test_a_file_that_holds_no_sections_is_named(tmp_path, content, message):
    (tmp_path / "own.yaml").write_bytes(content)
    with pytest.raises(InputError, match=f"own.yaml.*{message}"):
        load_params(tmp_path / "own.yaml")


def test_a_folder_or_a_fifo_holds_no_parameters(tmp_path):
    with pytest.raises(InputError, match="is a folder; the file of parameters must be a regular file"):
        load_params(tmp_path)
    os.mkfifo(tmp_path / "fifo.yaml")
    with pytest.raises(InputError, match="is a FIFO"):
        load_params(tmp_path / "fifo.yaml")
