"""The network benchmark runs, names TSN first and prints what it found."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial

import pytest
import torch
from click.testing import CliRunner

from tdn_data.benchmarks import networks as benchmark
from tdn_data.benchmarks.stored_clips import StoredClips
from tdn_data.pipeline.datasets.index import index_dataset
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.extraction.engine import run_extraction
from tdn_data.pipeline.parameters import ExtractParameters, FrameParameters
from tdn_data.pipeline.shards.reader import ShardReader
from tdn_data.stages.cli import main

SMALL = {"size": 32, "num_rounds": 1, "backbone": "resnet18", "width": 8, "num_segments": 2}


def test_networks_are_timed_beside_tsn():
    num_threads = torch.get_num_threads()
    result = benchmark.run(["tdn_wang", "tsn", "lstm"], device="cpu", num_videos=2, **SMALL)
    assert [network.name for network in result.networks] == ["tsn", "tdn_wang", "lstm"]
    assert result.networks[1].clip_shape == (2, 2, 5, 3, 32, 32)
    assert result.ratios["tsn"] == result.cost_ratios["tsn"] == 1 < result.cost_ratios["tdn_wang"]
    assert all(network.milliseconds >= network.fastest_milliseconds > 0 for network in result.networks)
    assert json.loads(json.dumps(asdict(result)))["versions"]["torch"] == torch.__version__
    assert "tdn_wang" in benchmark.format_times(result) and "2 x 5 x 3 x 32 x 32" in benchmark.format_times(result)
    assert torch.get_num_threads() == num_threads


def test_the_command_passes_segments_and_threads_on():
    arguments = ["--segments", "2", "--threads", "2", "--size", "32", "--rounds", "1", "--device", "cpu", "--json"]
    outcome = CliRunner().invoke(main, ["bench", "networks", "tsn", *arguments])
    assert outcome.exit_code == 0, outcome.stderr
    result = json.loads(outcome.stdout)
    assert result["num_threads"] == 2 and result["networks"][0]["clip_shape"] == [1, 2, 1, 3, 32, 32]


def test_a_name_has_options_of_its_own():
    names = ["tdn_wang:long_term=[]:temporal=[]", "tdn_wang:num_segments=3"]
    result = benchmark.run(names, device="cpu", **SMALL)
    assert [network.name for network in result.networks] == ["tsn", *names]
    assert result.networks[1].parameters < result.networks[2].parameters
    assert [network.clip_shape[1] for network in result.networks] == [2, 2, 3]


def test_each_branch_of_a_network_is_timed_alone():
    names = [f"disentangled:branches=[{branch}]" for branch in ("appearance", "motion", "change")]
    options = {"size": 32, "num_rounds": 1, "num_segments": 2, "snippet_length": 2}
    result = benchmark.run([*names, "disentangled"], device="cpu", **options)
    assert [network.name for network in result.networks] == ["tsn", *names, "disentangled"]
    *branches, whole = [network.multiply_adds for network in result.networks[1:]]
    assert max(branches) < whole < sum(branches)  # which share the low-level maps and the displacement
    tsn, *others = [network.flow_milliseconds for network in result.networks]
    assert tsn is None and all(time > 0 for time in others)  # of the displacement maps
    table = benchmark.format_times(result).splitlines()
    assert table[1].endswith("flow alone") and table[2].endswith("-") and table[3].endswith(" ms")
    assert "flow alone" not in benchmark.format_times(benchmark.run(["tsn"], device="cpu", **SMALL))


def test_loading_from_shards_is_timed_beside_the_network_alone(clip_folder, tmp_path):
    parameters = ExtractParameters(frames=FrameParameters(height=40, width=48, fps=5))
    run_extraction(index_dataset("folder", clip_folder), parameters, out=tmp_path, num_workers=1)
    clips_of = partial(StoredClips, ShardReader(tmp_path))
    result = benchmark.run(["tdn_wang"], device="cpu", num_videos=2, clips_of=clips_of, **SMALL)
    assert all(network.loading_milliseconds > network.fastest_milliseconds for network in result.networks)
    assert "with loading" in benchmark.format_times(result)
    assert "with loading" not in benchmark.format_times(benchmark.run(["tsn"], device="cpu", **SMALL))
    arguments = ["--segments", "2", "--size", "48", "--rounds", "1", "--device", "cpu", "--loading", str(tmp_path)]
    outcome = CliRunner().invoke(main, ["bench", "networks", "tsn", *arguments])
    assert outcome.exit_code == 2
    assert "a crop of 48 does not fit into it; give shards of larger frames, or a smaller --size" in outcome.stderr


def test_shards_of_failed_videos_alone_are_refused(clip_folder_copy, tmp_path):
    for video in clip_folder_copy.rglob("*.mp4"):
        video.write_bytes(b"no video")
    parameters = ExtractParameters(frames=FrameParameters())
    run_extraction(index_dataset("folder", clip_folder_copy), parameters, out=tmp_path / "shards", num_workers=1)
    with pytest.raises(InputError, match="hold no frames of any video"):
        StoredClips(ShardReader(tmp_path / "shards"), (1, 2, 1, 3, 32, 32), "cpu")


def test_half_precision_runs_under_autocast():
    assert benchmark.run(["tdn_wang"], device="cpu", precision="bfloat16", **SMALL).precision == "bfloat16"


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["tsm"], {}, "names has 'tsm'; known models: tsn, tdn, tdn_wang"),
        (["tsn:width"], {}, "names has 'tsn:width'; write NAME:OPTION=VALUE"),
        (["tdn_wang:nope=1"], {}, "names has 'tdn_wang:nope=1'; tdn_wang has no option nope"),
        (["tsn"], {"num_rounds": 0}, "num_rounds 0"),
        (["tsn"], {"precision": "int8"}, "known precisions: float32, bfloat16, float16"),
        (["tsn"], {"device": "tpu"}, "device is 'tpu'; allowed: auto, cpu, cuda"),
    ],
)
def test_wrong_arguments_are_named(names, options, message):
    with pytest.raises(ValueError, match=message):
        benchmark.run(names, **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_a_missing_cuda_device_is_said():
    with pytest.raises(ValueError, match="no such device"):
        benchmark.run(["tsn"], device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here")
def test_a_cuda_device_is_named():
    assert benchmark.run(["tdn_wang"], device="cuda", **SMALL).hardware == torch.cuda.get_device_name()
