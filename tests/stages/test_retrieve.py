"""The command `retrieve`, from a folder of images to a table, a JSON file and a picture."""

from __future__ import annotations

import json

import cv2
import pytest
import torch
from click.testing import CliRunner

from tdn_data.models.backbones import build_backbone
from tdn_data.models.retrieval.vlad import TABLE_LAYERS
from tdn_data.models.weights.published import URLS
from tdn_data.stages.cli import main

SMALL = ("--clusters", 8, "--dimensions", 6, "--input-size", 48, "--device", "cpu")


def call(*arguments):
    """Run `retrieve`; return its exit code, stdout and stderr."""
    result = CliRunner().invoke(main, ["retrieve", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result.exit_code, result.stdout, result.stderr


def test_a_search_ends_in_a_table_a_file_and_a_picture(holidays_folder, tmp_path):
    out, sheet = tmp_path / "new/results.json", tmp_path / "sheet.png"
    correspondences, clusters = tmp_path / "correspondences.png", tmp_path / "clusters.png"
    code, stdout, stderr = call(
        "--dataset", "holidays", "--root", holidays_folder, *SMALL, "--layer", "maxpool2", "--layer", "inception3a",
        "--out", out, "--sheet", sheet, "--queries", 3, "--correspondences", correspondences,
        "--patch-clusters", clusters,
    )  # fmt: skip
    assert code == 0, stderr
    for words in ("maxpool2", "inception3a", "scale 1", "scale 2", "scales 1 + 2", "UNTRAINED", "8 queries, 32 images"):
        assert words in stdout
    assert "published with 1491 images; this copy has 32" in stdout and "lost" not in stdout
    assert "untrained: no --weights: googlenet is untrained" in stderr
    record = json.loads(out.read_text())
    assert record["trained"] is False and record["options"]["layers"] == ["maxpool2", "inception3a"]
    assert [(one["layer"], one["scales"]) for one in record["results"][2:4]] == [
        ("maxpool2", [1, 2]),
        ("inception3a", [1]),
    ]
    for one in record["results"]:
        assert one["mAP"] > 0.8 and len(one["average_precisions"]) == 8
        assert f"{100 * one['mAP']:.1f}" in stdout
    picture = cv2.imread(str(sheet))
    assert picture.shape[0] > 3 * 136 and picture.shape[1] > 9 * 136 and picture.std() > 20
    # four queries and two mosaics of each for two layers at two scales; ten rows of eleven patches for the same
    for path, num_rows, num_columns, side in ((correspondences, 9, 4, 224), (clusters, 40, 11, 48)):
        picture = cv2.imread(str(path))
        assert picture.shape[0] > num_rows * side and picture.shape[1] > num_columns * side and picture.std() > 20
        assert f"{path}" in stdout


def test_trained_weights_and_another_vocabulary_are_said(paris_folder, holidays_folder, tmp_path):
    torch.save(build_backbone("resnet18").state_dict(), tmp_path / "weights.pth")
    code, stdout, stderr = call(
        "--dataset", "paris6k", "--root", paris_folder, "--backbone", "resnet18", "--weights", tmp_path / "weights.pth",
        "--layer", "res2", "--scales", "1", *SMALL, "--vocabulary-from", "holidays", holidays_folder, "--json",
    )  # fmt: skip
    assert code == 0, stderr
    assert "untrained" not in stderr.lower()
    record = json.loads(stdout)
    assert record["trained"] is True and record["weights"] == str(tmp_path / "weights.pth")
    assert (record["searched"]["dataset"], record["learned_on"]["dataset"]) == ("paris6k", "holidays")
    assert (record["searched"]["num_images"], record["learned_on"]["num_images"]) == (24, 32)
    assert [one["scales"] for one in record["results"]] == [[1]]


def test_published_weights_are_asked_for_by_name(holidays_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setitem(URLS, "googlenet", "http://127.0.0.1:1/googlenet-1378be20.pth")  # nobody listens there
    code, _, stderr = call("--dataset", "holidays", "--root", holidays_folder, "--weights", "imagenet", *SMALL)
    assert code == 2
    assert "error: http://127.0.0.1:1/googlenet-1378be20.pth cannot be downloaded" in stderr


def test_all_layers_of_table_2_1_are_rows(holidays_folder):
    code, stdout, stderr = call(
        "--dataset", "holidays", "--root", holidays_folder, "--all-layers", "--scales", "1", *SMALL,
        "--input-size", 32, "--features", 500,
    )  # fmt: skip
    assert code == 0, stderr
    rows = [line.split()[1] for line in stdout.splitlines() if line.startswith("│")]
    assert tuple(rows) == TABLE_LAYERS["googlenet"]


def test_lost_images_are_named_and_more_than_few_end_the_run(holidays_copy):
    (holidays_copy / "jpg/100101.png").write_bytes(b"no picture")
    arguments = ("--dataset", "holidays", "--root", holidays_copy, "--layer", "maxpool1", "--scales", "1", *SMALL)
    code, stdout, stderr = call(*arguments)
    assert code == 1 and "maxpool1" not in stdout
    assert "1 of the 32 images of holidays are missing or do not decode, more than --fail-above 0.01: 100101" in stderr
    code, stdout, stderr = call(*arguments, "--fail-above", 0.05)
    assert code == 0, stderr
    assert "lost: 1 image of holidays unreadable: 100101" in stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dataset", "holydays"), "unknown data set 'holydays'"),
        (("--dataset", "fcvid"), "fcvid is a data set of videos, not for retrieval"),
        (("--root", "nowhere"), "nowhere does not exist"),
        (("--vocabulary-from", "paris6k", "elsewhere"), "elsewhere does not exist"),
        (("--backbone", "lenet"), "backbone is 'lenet'; known backbones: resnet18"),
        (("--layer", "inception9"), "layer is 'inception9'; layers of GoogLeNet: conv1, maxpool1"),
        (("--backbone", "resnet18"), "the chapter has no resnet18; its layers: conv1"),
        (("--layer", "conv1", "--all-layers"), "--layer and --all-layers exclude each other"),
        (("--weights", "nothing.pth"), "nothing.pth: the file of weights does not exist"),
        (("--scales", "1;2"), "'1;2' is no list of whole numbers"),
        (("--scales", "1,1"), "scales is (1, 1)"),
        (("--scales", "0"), "'0' is no list of whole numbers"),
        (("--dimensions", "128"), "num_dimensions is 128; a PCA of 32 images allows at most 31"),
        (
            ("--layer", "inception5b", "--scales", "1", "--clusters", "200"),
            "num_words is 200; expected at most the number",
        ),
        (("--device", "gpu"), "'gpu' is none of auto, cpu, cuda"),
        (("--out", "{}/jpg"), "jpg is a folder; give the name of a file to write"),
        (("--sheet", "{}/sheet.png"), "sheet.png would be an image of the data set from then on"),
        (("--sheet", "{}/jpg/100000.png/sheet.png"), "100000.png is no folder"),
        (("--correspondences", "{}/c.png"), "c.png would be an image of the data set from then on"),
        (("--patch-clusters", "clusters.jpg"), "clusters.jpg"),
        (
            ("--correspondences", "{}.png", "--patch-clusters", "{}.png"),
            "--correspondences and --patch-clusters name the same file",
        ),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_code_two(holidays_folder, arguments, message):
    given = (argument.format(holidays_folder) for argument in arguments)
    code, stdout, stderr = call("--dataset", "holidays", "--root", holidays_folder, *SMALL, *given)
    assert code == 2
    assert message in " ".join(stderr.split()) and "Traceback" not in stdout + stderr
