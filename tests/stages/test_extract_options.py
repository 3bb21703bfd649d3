"""Each option of `extract` arrives where it works: none is parsed and then forgotten."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tdn_data.pipeline.datasets.manifest import Manifest
from tdn_data.pipeline.extraction.cache import Policy
from tdn_data.pipeline.parameters import Limits
from tdn_data.stages import extract as stage
from tdn_data.stages.cli import main
from tdn_data.stages.params import load_params


class Arrived(Exception):
    """Carries what the command hands over."""


@pytest.fixture
def handed_over(clip_folder, tmp_path, monkeypatch):
    """A function that runs `extract` with options and returns (manifest, parameters, the other words)."""

    def stop(manifest, parameters, **words):
        raise Arrived(manifest, parameters, words)

    monkeypatch.setattr("tdn_data.stages.cli.extract.extract_manifest", stop)

    def call(*options):
        source = ["extract", "--dataset", "folder", "--root", str(clip_folder), "--out", str(tmp_path / "out")]
        result = CliRunner().invoke(main, [*source, *options])
        assert isinstance(result.exception, Arrived), result.output
        return result.exception.args

    return call


@pytest.mark.parametrize(
    ("option", "value", "name", "arrived"),
    [
        ("--timeout", "7", "limits.seconds_per_video", 7),
        ("--memory-limit", "0.5", "limits.memory_bytes", 1 << 29),
        ("--max-megapixels", "2", "limits.max_pixels", 2_000_000),
        ("--videos-per-shard", "3", "videos_per_shard", 3),
        ("--format", "lmdb", "format", "lmdb"),
        ("--every-seconds", "2", "frames.every_seconds", 2),
        ("--fps", "5", "frames.fps", 5),
        ("--max-seconds", "9", "frames.max_seconds", 9),
        ("--size", "48x64", "frames.size", (48, 64)),
        ("--short-side", "32", "frames.size", 32),
        ("--codec", "png", "frames.codec", "png"),
        ("--quality", "40", "frames.quality", 40),
        ("--method", "dis", "flow.method", "dis"),
        ("--bound", "7", "flow.bound", 7),
        ("--flow-fps", "4", "flow.fps", 4),
        ("--codec", "raw", "flow.codec", "raw"),
    ],
)
def test_an_option_arrives_in_the_parameters(handed_over, option, value, name, arrived):
    found = handed_over("--modality", "both", option, value)[1]
    for part in name.split("."):
        found = getattr(found, part)
    assert found == arrived


@pytest.mark.parametrize(
    ("option", "policy"),
    [
        ((), Policy()),
        (("--replace",), Policy(replace=True)),
        (("--keep-versions",), Policy(keep_versions=True)),
        (("--retry-failed",), Policy(retry_failed=True)),
        (("--allow-loss",), Policy(allow_loss=True)),
    ],
)
def test_what_may_be_done_with_earlier_rows_arrives(handed_over, option, policy):
    assert handed_over(*option)[2]["policy"] == policy


def test_workers_address_and_limit_arrive(handed_over):
    manifest, _, words = handed_over("--workers", "3", "--ray-address", "head:6379", "--limit", "4")
    assert (words["num_workers"], words["ray_address"], len(manifest)) == (3, "head:6379", 4)


def test_the_stage_hands_over_what_its_section_says(monkeypatch, tmp_path):
    section = {
        "retry_failed": True,
        "allow_loss": True,
        "workers": 3,
        "limits": {"seconds_per_video": 5, "memory_bytes": 1 << 29, "max_pixels": 999},
    }
    params = yaml.safe_load((Path(__file__).resolve().parents[2] / "params.yaml").read_text(encoding="utf-8"))
    params["extract"] |= section
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    handed = {}

    def stop(manifest, parameters, **words):
        handed.update(words, parameters=parameters)
        raise Arrived

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage, "load_params", lambda: load_params(tmp_path / "params.yaml"))
    monkeypatch.setattr(stage, "read_manifest", lambda *words, **more: Manifest("demo", "r", ("a",), False, ()))
    monkeypatch.setattr(stage, "extract_manifest", stop)
    with pytest.raises(Arrived):
        stage.main("rgb")
    assert handed["policy"] == Policy(replace=True, retry_failed=True, allow_loss=True)
    assert handed["num_workers"] == 3
    assert handed["parameters"].limits == Limits(seconds_per_video=5, memory_bytes=1 << 29, max_pixels=999)
