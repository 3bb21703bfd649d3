import os
from dataclasses import replace

import pytest
import yaml

from tdn_data.models import MODELS
from tdn_data.pipeline.errors import InputError
from tdn_data.stages.params import OWN, PARAMS, load_params

CONTENT = yaml.safe_load(PARAMS.read_text()) if PARAMS.exists() else {}


@pytest.fixture
def changed(tmp_path):
    """Write the project's params.yaml with one section changed, and return its path."""

    def write(section, **changes):
        content = {**CONTENT, section: {**CONTENT[section], **changes}}
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


def test_the_projects_own_parameters_are_valid():
    params = load_params()
    assert params.dataset.name == "demo" and params.extract_parameters("flow").modalities == ("flow",)


@pytest.mark.parametrize(
    ("section", "changes", "message"),
    [
        ("train", {"epoch": 3}, r"train\.epoch: unknown key"),
        ("train", {"epochs": "many"}, r"train\.epochs: input should be a valid integer.*'many'"),
        ("train", {"epochs": -1}, "epochs is -1; it must be from 1 to 1,000,000"),
        ("frames", {"height": 8}, r"frames\.height: input should be greater than or equal to 16 \(is 8\)"),
        ("frames", {"height": None}, "height and width go together"),
        ("frames", {"short_side": 256}, "short_side excludes height and width; set it or them to null"),
        ("frames", {"short_side": 8}, r"frames\.short_side: input should be greater than or equal to 16 \(is 8\)"),
        ("frames", {"fps": 3, "every_seconds": 3}, "every_seconds and fps exclude each other"),
        ("flow", {"method": "horn-schunck"}, r"flow\.method: input should be 'tvl1'.*'horn-schunck'"),
        ("evaluate", {"num_crops": 5}, "num_crops is 5; it must be 1, 3 or 10"),
        ("with_flow", {"networks": ["tsn"]}, r"with_flow\.networks\.0: input should be 'actionflownet'.*'tsn'"),
        ("with_flow", {"recipes": {"stacked": {"epoch": 3}}}, r"with_flow\.recipes\.stacked: train\.epoch: unknown"),
        ("others", {"networks": ["tsn"]}, r"others\.networks\.0: input should be 'tdn_wang'.*'tsn'"),
        ("others", {"recipes": {"tdn_wang": {"epochs": 0}}}, r"others\.recipes\.tdn_wang: train: epochs is 0; it must"),
        ("with_flow", {"recipes": {"stacked": {"flow_share": 2}}}, r"stacked: train: flow_share is 2.0; it must be"),
        ("frames", {"fps": float("inf"), "every_seconds": None}, r"frames\.fps: input should be a finite number"),
        ("frames", {"every_seconds": 1e9}, r"frames\.every_seconds: input should be less than or equal to 1000000"),
        ("train", {"learning_rate": float("nan")}, "learning_rate"),
        ("train", {"seed": 10**19}, r"seed is 10{19}; it must be from 0 to"),
        ("evaluate", {"max_missing_share": float("nan")}, "max_missing_share"),
        ("extract", {"fail_above": float("nan")}, r"extract\.fail_above: input should be a finite number"),
        ("extract", {"limits": {"seconds_per_video": float("inf")}}, r"limits\.seconds_per_video: .* finite number"),
        ("extract", {"limits": {"memory_bytes": 10**20}}, r"limits\.memory_bytes: input should be less than"),
        ("extract", {"workers": 10**6}, r"extract\.workers: input should be less than or equal to 1024"),
        ("demo", {"seed": 10**19}, r"demo\.seed: input should be less than"),
        ("fuse", {"flow": float("inf")}, r"fuse\.flow: input should be a finite number"),
        ("dataset", {"root": ""}, r"dataset\.root: string should have at least 1 character"),
        ("dataset", {"root": "a\0b"}, r"dataset\.root: string should match pattern"),
        ("extract", {"format": "zip"}, r"extract\.format: input should be 'parquet' or 'lmdb'"),
    ],
)
def test_a_wrong_parameter_is_named_with_its_value(changed, section, changes, message):
    with pytest.raises(InputError, match=message):
        load_params(changed(section, **changes))


def test_a_section_set_to_null_is_sampled_as_the_data_sets_paper_has_it(tmp_path):
    content = CONTENT | {"frames": None, "flow": None, "dataset": {"name": "fcvid", "root": "x"}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(content))
    params = load_params(tmp_path / "own.yaml")
    assert params.extract_parameters("rgb").frames.every_seconds == 3
    assert params.extract_parameters("flow").flow.fps == 15
    assert load_params().extract_parameters("rgb").frames.size == (64, 64)


def test_a_recipe_goes_before_what_is_said_of_all_networks(changed):
    params = load_params(changed("with_flow", recipes={"actionflownet": {"flow_weight": 0.5, "optimizer": "adam"}}))
    assert params.train_config("tsn") == params.train_config("stacked") == params.train
    expected = replace(params.train, flow_weight=0.5, optimizer="adam")
    assert params.train_config("actionflownet") == expected != params.train


def test_the_projects_own_recipes_fit_their_networks():
    params = load_params()
    assert {*OWN, *params.recipes} == MODELS.keys()
    for name in params.recipes:
        config = params.train_config(name)
        config.check_model(name)
        assert config.needs_flow == (name in params.with_flow.recipes)
    assert params.others.networks == params.with_flow.networks == ()  # the default pipeline trains none of them


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
        (b"- a\n", "holds a list; it must hold sections"),
        (b"3", "holds a int"),
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
