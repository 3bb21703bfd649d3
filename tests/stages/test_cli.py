"""What a person types, and what comes back."""

import json
from pathlib import Path

import click
import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from tdn_data.pipeline.shards.placement import ENOUGH_SHARDS, shard_number
from tdn_data.pipeline.shards.reader import ShardReader
from tdn_data.pipeline.video import write_video
from tdn_data.stages.cli import main

README = Path(__file__).resolve().parents[2] / "README.md"


def call(*arguments):
    """Run a command; return its exit code, stdout and stderr."""
    result = CliRunner().invoke(main, [str(one) for one in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def fcvid_shards(fcvid_mini, tmp_path_factory):
    """The mini FCVID set, extracted by the command of the README; with the command's JSON summary."""
    out = tmp_path_factory.mktemp("fcvid") / "shards"
    code, stdout, stderr = call("extract", "--dataset", "fcvid", "--root", fcvid_mini, "--out", out, "--json")
    assert code == 0, stderr
    return out, json.loads(stdout)


def test_all_fourteen_listed_videos_end_in_the_ledger(fcvid_shards):
    _, summary = fcvid_shards
    assert sum(summary["status"].values()) == 14
    assert sum(summary["decoding"].values()) == summary["status"]["ok"] + summary["status"]["partial"]
    statuses = {row["video_id"]: (row["status"], row["reason"]) for row in summary["not_ok"]}
    assert statuses["broken/mIssing_file"] == ("failed", "missing")
    assert (
        statuses["broken/tRunc4ted_00"][0] in ("partial", "failed")
        and statuses["broken/tRunc4ted_00"][1] == "truncated"
    )


def test_inspect_prints_what_is_there_and_draws_a_sheet(fcvid_shards, tmp_path):
    out, _ = fcvid_shards
    code, stdout, _ = call("inspect", out, "--sheet", tmp_path / "sheet.png")
    assert code == 0
    for words in ("239 classes", "every_seconds 3.0", "height 256", "mIssing_file", "missing"):
        assert words in stdout
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape[0] > 12 * 144 and sheet.std() > 20


def test_status_and_verify_agree_that_all_is_well(fcvid_shards):
    out, _ = fcvid_shards
    code, stdout, _ = call("status", out)
    assert code == 0 and "finished" in stdout and "4 of 4 shards" in stdout
    code, stdout, _ = call("verify", out)
    assert code == 0 and "nothing wrong" in stdout


def test_verify_leaves_with_one_when_something_is_wrong(fcvid_shards, tmp_path):
    import shutil

    copy = Path(shutil.copytree(fcvid_shards[0], tmp_path / "copy"))
    next(copy.glob("frames-*")).unlink()
    code, stdout, _ = call("verify", copy)
    assert code == 1 and "is missing" in stdout


def test_too_many_failures_are_exit_code_one(fcvid_mini, fcvid_shards):
    arguments = ("--dataset", "fcvid", "--root", fcvid_mini, "--out", fcvid_shards[0])
    code, _, stderr = call("extract", *arguments, "--fail-above", "0.1")
    assert code == 1 and "14.3% of the videos are partial or failed, more than --fail-above 0.1" in stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("extract", "--dataset", "fvcid", "--root", ".", "--out", "x"), "unknown data set 'fvcid'"),
        (("extract", "--dataset", "fcvid", "--root", "nowhere", "--out", "x"), "nowhere does not exist"),
        (
            ("extract", "--dataset", "folder", "--root", "{}", "--out", "x", "--fps", "-1"),
            "'-1' is no number above 0",
        ),
        (("extract", "--dataset", "folder", "--root", "{}", "--out", "x", "--size", "12"), "'12' is no size"),
        (
            ("extract", "--dataset", "folder", "--root", "{}", "--out", "x", "--method", "y", "--modality", "flow"),
            "method",
        ),
        (
            ("extract", "--dataset", "folder", "--root", "{}", "--out", "x", "--every-seconds", "3", "--fps", "1"),
            "exclude",
        ),
        (
            ("extract", "--dataset", "folder", "--root", "{}", "--out", "x", "--short-side", "8"),
            "'8' is no whole number from 16 to 4,096",
        ),
        (
            ("extract", "--dataset", "folder", "--root", "{}", "--out", "x", "--short-side", "64", "--size", "native"),
            "size and short_side exclude each other; give one of them",
        ),
        (("inspect", "{}"), "holds no finished extraction"),
        (("verify", "{}"), "holds no finished extraction"),
        (("status", "{}"), "holds no shard"),
        (("flow", "{}/a.png", "{}/b.png", "--out", "f.flo"), "a.png: the image does not exist"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_code_two(clip_folder, arguments, message):
    code, stdout, stderr = call(*(argument.format(clip_folder) for argument in arguments))
    assert code == 2
    assert message in stderr and "Traceback" not in stdout + stderr


@pytest.fixture
def differing_sizes(tmp_path):
    """A folder of three videos of 48 x 64, 80 x 48 and 50 x 75 pixels that fall into one shard."""
    names = [name for name in map("v{}".format, range(99)) if shard_number(name, ENOUGH_SHARDS) == 0]
    for name, size in zip(names, ((48, 64), (80, 48), (50, 75)), strict=False):
        pictures = np.random.default_rng(0).integers(0, 256, (4, *size, 3), dtype=np.uint8)
        write_video(tmp_path / f"{name}.mp4", pictures, fps=10)
    rows = [f"{name}.mp4,train,x" for name in names[:3]]
    (tmp_path / "videos.csv").write_text("\n".join(["path,split,labels", *rows]))
    return tmp_path, names[:3]


@pytest.mark.parametrize("shard_format", ["parquet", "lmdb"])
def test_a_shorter_side_gives_each_video_its_own_size_in_one_shard(differing_sizes, tmp_path, shard_format):
    root, names = differing_sizes
    out = tmp_path / "shards"
    source = ("extract", "--dataset", "folder", "--root", root, "--out", out, "--short-side", 24)
    code, _, stderr = call(*source, "--modality", "both", "--format", shard_format)
    assert code == 0, stderr
    assert "nothing wrong" in call("verify", out)[1]
    code, stdout, _ = call("inspect", out, "--sheet", tmp_path / "sheet.png")
    assert code == 0 and "short_side 24" in stdout and (tmp_path / "sheet.png").exists()
    code, _, stderr = call(*source[:-2], "--size", "24x32", "--format", shard_format)
    assert code == 2 and "height None -> 24, width None -> 32, short_side 24 -> None" in stderr
    code, stdout, _ = call(*source, "--plan", "--json")
    assert json.loads(stdout)["modalities"][0]["num_rows"] == 12
    frames, flow = ShardReader(out), ShardReader(out, modality="flow")
    for name, size in zip(names, ((24, 32), (40, 24), (24, 36)), strict=True):
        assert frames.read(name).data.shape == (4, *size, 3)
        assert flow.read(name).data.shape == (3, *size, 2)


def test_a_read_only_output_is_said(clip_folder):
    code, _, stderr = call("extract", "--dataset", "folder", "--root", clip_folder, "--out", "/proc/nowhere")
    assert code == 1 and "Traceback" not in stderr and "/proc/nowhere" in stderr


def test_every_command_has_an_example_and_is_in_the_readme():
    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert "Example" in command.help and f"tdn-data {name}" in command.help, name
        assert f"tdn-data {name}" in README.read_text(), name


def test_flow_between_two_images_is_measured_against_the_truth(shared_data, tmp_path):
    images = [shared_data / f"flow/RubberWhale{number}.png" for number in (1, 2)]
    code, stdout, stderr = call(
        "flow", *images, "--out", tmp_path / "f.flo", "--truth", shared_data / "flow/RubberWhale.flo"
    )
    assert code == 0, stderr
    assert "mean 0.15" in stdout and (tmp_path / "f.flo").stat().st_size == 12 + 8 * 584 * 388


def test_a_manifest_is_planned_and_extracted_like_the_lists_it_was_made_of(clip_folder, tmp_path):
    manifest = tmp_path / "manifest.parquet"
    assert call("index", "--dataset", "folder", "--root", clip_folder, "--out", manifest)[0] == 0
    source = ("--manifest", manifest, "--out", tmp_path / "out")
    code, stdout, stderr = call("extract", *source, "--plan")
    assert code == 0 and "12 videos, 4 shards a modality with at most" in stdout, stderr
    code, stdout, stderr = call(
        "extract", "--manifest", manifest, "--out", tmp_path / "out", "--size", "48x64", "--json"
    )
    assert code == 0 and sum(json.loads(stdout)["status"].values()) == 12, stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "give either --dataset and --root, or --manifest"),
        (("--dataset", "fcvid"), "--dataset and --root belong together"),
        (("--root", "."), "give either --dataset and --root, or --manifest"),
        (
            ("--dataset", "fcvid", "--root", ".", "--manifest", __file__),
            "give either --dataset and --root, or --manifest",
        ),
        (("--manifest", __file__, "--limit", "3"), "give them to `tdn-data index`"),
        (("--manifest", "nowhere.parquet"), "nowhere.parquet: the manifest does not exist"),
    ],
)
def test_what_is_to_be_extracted_must_be_said_once(options, words, tmp_path):
    code, _, stderr = call("extract", "--out", tmp_path / "out", *options)
    assert code == 2 and words in " ".join(stderr.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--modality", "rgb", "--bound", "7"), "--bound has no effect with --modality rgb, which computes no flow"),
        (("--method", "dis"), "--method has no effect with --modality rgb"),
        (("--modality", "flow", "--fps", "3"), "--fps has no effect with --modality flow (its rate is --flow-fps)"),
        (("--codec", "png", "--quality", "90"), "--quality has no effect with --codec png, which loses nothing"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(clip_folder, tmp_path, options, message):
    source = ("--dataset", "folder", "--root", clip_folder, "--out", tmp_path / "out")
    code, _, stderr = call("extract", *source, *options)
    assert code == 2 and message in " ".join(stderr.split()) and not (tmp_path / "out").exists()


def test_options_of_a_sheet_need_a_sheet(clip_folder):
    code, _, stderr = call("inspect", clip_folder, "--sheet-videos", 3)
    assert code == 2 and "--sheet-videos has no effect without --sheet; leave it out" in " ".join(stderr.split())


def test_the_cost_of_a_million_classes_is_estimated_without_their_weights():
    code, stdout, stderr = call("models", "tsn", "--classes", 1_000_000, "--json")
    assert code == 0, stderr
    assert json.loads(stdout)[0]["parameters"] > 2_000_000_000


def test_a_manifest_never_replaces_what_it_is_made_of(clip_folder_copy):
    lists = clip_folder_copy / "videos.csv", clip_folder_copy / "classes.txt", clip_folder_copy / "videos/clip 01.mp4"
    for path in lists:
        before = path.read_bytes()
        code, _, stderr = call("index", "--dataset", "folder", "--root", clip_folder_copy, "--out", path)
        assert code == 2 and "is also read; give another name to write to" in " ".join(stderr.split())
        assert path.read_bytes() == before


@pytest.mark.parametrize("content", ["path,split,labels\nv/a.mp4,train,run\n", "anything"])
def test_rendering_never_replaces_lists_of_ones_own(tmp_path, content):
    (tmp_path / "videos.csv").write_text(content)
    counts = [word for split in ("train", "val", "test") for word in (f"--{split}-per-class", 1)]
    code, _, stderr = call("demo", "--out", tmp_path, *counts)
    assert code == 2 and "videos.csv is a list of your own" in " ".join(stderr.split())
    assert (tmp_path / "videos.csv").read_text() == content and len(list(tmp_path.iterdir())) == 1


def test_the_built_in_set_can_be_rendered_again_in_its_place(tmp_path):
    for count in (1, 2):
        options = ("--train-per-class", count, "--val-per-class", 1, "--test-per-class", 1)
        code, stdout, stderr = call("demo", "--out", tmp_path, *options)
        assert code == 0 and f"{8 * (count + 2)} clips in" in stdout, stderr
