"""The report's page and its pictures."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tdn_data.models.evaluation.mistakes import Mistake
from tdn_data.models.report.page import MAX_MISTAKES, RunResult, write_report
from tdn_data.models.report.papers import PUBLISHED
from tdn_data.models.report.pictures import GAP, HEIGHT, NUM_COLUMNS, mistake_strips, sample_videos
from tdn_data.pipeline.datasets.registry import dataset_spec
from tdn_data.pipeline.images import write_png
from tdn_data.pipeline.shards.schema import LedgerRow


def test_frames_and_flow_of_other_shapes_stand_under_each_other(make_shards) -> None:
    frames = make_shards([("v", "val", (0,), np.zeros((4, 20, 30, 3), np.uint8))], class_names=("x",))
    flow = make_shards([("v", "val", (0,), np.full((3, 20, 20, 2), 128, np.uint8))], class_names=("x",))
    (sample,) = sample_videos(frames, flow, split="val", num_columns=2, height=40)
    assert sample.image.shape == (80 + GAP, 2 * 60 + GAP, 3)
    assert (sample.image[40:, 80 + GAP :] == 255).all() and not sample.image[:40, :60].any()
    assert (sample.image[:40, 60 : 60 + GAP] == 255).all() and (sample.image[40 : 40 + GAP] == 255).all()
    assert sample_videos(frames, flow, split="test") == []


def test_the_data_sets_own_metrics_and_split_head_the_table(tmp_path: Path) -> None:
    run = RunResult("lstm-rgb", "lstm", "rgb", {"hit1": 0.711, "hit5": 0.893, "mAP": 0.6}, np.array([0.6, np.nan]))
    write_report(
        tmp_path / "report.html",
        dataset="sports1m",
        class_names=("golf", "chess"),
        runs=[run],
        metric_names={"hit1": "Hit@1", "hit5": "Hit@5"},
        split="test",
        samples=[],
        facts={},
    )
    page = (tmp_path / "report.html").read_text()
    assert "<th>Hit@1</th><th>Hit@5</th>" in page and "71.1" in page and "89.3" in page
    assert "top-1" not in page and "split “test”" in page


def page_of(tmp_path: Path, *runs: RunResult, dataset: str = "demo", **more: object) -> str:
    options = {
        "class_names": ("x", "y"),
        "metric_names": {"top1": "top-1"},
        "split": "test",
        "samples": [],
        "facts": {},
    }
    write_report(tmp_path / "report.html", dataset=dataset, runs=runs, **options | more)
    return (tmp_path / "report.html").read_text()


def result(model: str, modality: str, top1: float, **more: object) -> RunResult:
    return RunResult(f"{model}-{modality}", model, modality, {"top1": top1}, np.array([0.5, 0.5]), **more)


def test_the_headline_says_which_network_is_ahead_or_that_none_is(tmp_path: Path) -> None:
    words = {
        0.5: "reaches 50.0% top-1, more than TSN",
        0.25: "both networks reach 25.0% top-1",
        0.2: "reaches 20.0% top-1, less than TSN",
    }
    for top1, expected in words.items():
        assert expected in page_of(tmp_path, result("tsn", "rgb", 0.25), result("tdn", "rgb", top1))


def test_fusion_is_described_as_it_was_done_and_left_out_runs_are_named(tmp_path: Path) -> None:
    way = {"runs": {"tdn-rgb": 1.0, "tdn-flow": 2.5}, "normalize": "l1"}
    fused = result("tdn", "fusion", 0.5, parameters=way)
    page = page_of(tmp_path, fused, left_out=["backup is left out: its record is of the run tdn-rgb."])
    assert "tdn-fusion: tdn-rgb 1, tdn-flow 2.5, l1-normalised" in page and "backup is left out" in page
    assert "Fused scores" not in page_of(tmp_path, result("tdn", "rgb", 0.5))


def test_pictures_of_explain_are_a_part_of_the_page(tmp_path: Path) -> None:
    picture = tmp_path / "videos_a-cam.png"
    write_png(picture, np.zeros((8, 8, 3), np.uint8))
    page = page_of(tmp_path, result("tdn", "rgb", 0.5, explanations=[picture]))
    assert "What the scores stand on" in page and "<figcaption>tdn-rgb, videos_a-cam</figcaption>" in page
    assert "What the scores stand on" not in page_of(tmp_path, result("tdn", "rgb", 0.5))


def test_published_numbers_stand_beside_runs_on_the_same_data_set_only(tmp_path: Path) -> None:
    run = result("tdn", "rgb", 0.5432, list_split=2)
    for dataset in ("demo", "folder", "lists"):
        assert "Beside the papers" not in page_of(tmp_path, run, dataset=dataset)
    page = page_of(tmp_path, run, dataset="hmdb51")
    wrap = '<td class="words wrap">'
    own = f'<td class="wrap">tdn-rgb (tdn)</td>{wrap}RGB</td><td>54.3</td>{wrap}here, list split 2</td>'
    theirs = f'<td class="wrap">ResNet-50 TDN</td>{wrap}flow</td><td>64.8</td>{wrap}Ng &amp; Davis, Table 1</td>'
    assert "2 of the 51 classes" in page
    assert own in page and theirs in page and page.index(own) < page.index(theirs)
    fcvid = page_of(
        tmp_path, RunResult("tdn-rgb", "tdn", "rgb", {"hit1": 0.9, "mAP": 0.5}, np.ones(2)), dataset="fcvid"
    )
    assert "<td>50.0</td>" in fcvid and "<td>83.7</td>" in fcvid and "<td>90.0</td>" not in fcvid


@pytest.mark.parametrize("dataset", PUBLISHED)
def test_every_published_row_has_a_number_for_each_metric_of_its_data_set(dataset: str) -> None:
    beside = PUBLISHED[dataset]
    assert set(beside.metrics) == set(dataset_spec(dataset).metrics)
    for row in beside.rows:
        assert len(row.numbers) == len(beside.metrics) and "Table" in row.source, row
        assert all(number is None or 10 < number < 100 for number in row.numbers), row


def test_no_two_networks_share_a_colour_and_a_curve_says_what_it_is_of(tmp_path: Path) -> None:
    models = ("tsn", "tdn", "tdn_wang", "lstm", "stacked", "conv_pooling", "time_conv", "slow_pooling")
    runs = [result(model, one, 0.5, curves={"accuracy": [0.1, 0.5]}) for model in models for one in ("rgb", "flow")]
    page = page_of(tmp_path, *runs)
    assert "accuracy on the training clips (not a test)" in page
    plot = page[page.index("<h2>Training</h2>") : page.index("accuracy on the training clips")]
    drawn = set(re.findall(r"fill: none;[^\"]*?stroke: (#[0-9a-f]{6}); stroke-width: 1.8", plot))
    assert len(drawn) == len(models)


def test_results_have_their_interval_and_mistakes_and_changes_are_listed(tmp_path: Path) -> None:
    tsn = result("tsn", "rgb", 0.5, confusion=np.array([[3, 1], [3, 1]]))
    tdn = RunResult("tdn-rgb", "tdn", "rgb", {"top1": 0.975, "num_videos": 120}, np.array([0.9, 0.4]))
    page = page_of(tmp_path, tsn, tdn)
    assert '<td>97.5</td><td class="wrap">92.9 to 99.1</td>' in page and '<td>50.0</td><td class="wrap">–</td>' in page
    assert '<td>y</td><td class="words">x</td><td>3 of 4</td>' in page
    assert "<td>x</td><td>50.0</td><td>90.0</td><td>+40.0</td>" in page and "<td>-10.0</td>" in page


def test_trainings_say_what_they_cost_and_in_which_parameters_they_differ(tmp_path: Path) -> None:
    costs = {"seconds": {"trained": 61.2, "tested": 3.0}, "parameters_count": 1_410_000, "multiply_adds": 70_000_000}
    trained = {"rgb": {"epochs": 24, "taps": None}, "flow": {"epochs": 8, "taps": None}}
    runs = [result("tdn", modality, 0.5, training=own, **costs) for modality, own in trained.items()]
    page = page_of(tmp_path, *runs)
    assert "<td>1.41</td><td>0.07</td><td>61</td>" in page
    assert "<tr><td>epochs</td><td>24</td><td>8</td></tr>" in page and "The same in all: taps –." in page


def test_the_ledger_is_summed_up_with_its_reasons(tmp_path: Path) -> None:
    stored = [LedgerRow(f"v{number}", "rgb", "p", "train", (0,), "ok", stored_bytes=600) for number in range(2)]
    lost = LedgerRow("w", "rgb", "p", "train", (0,), "failed", "too_large")
    page = page_of(tmp_path, result("tdn", "rgb", 0.5), ledger=[*stored, lost])
    assert "<td>rgb</td><td>2</td><td>0</td><td>1</td><td>1.2 kB</td>" in page and "1 too large" in page


def test_the_most_certain_mistakes_are_shown_in_pictures_and_without_shards_in_words(tmp_path: Path, coloured) -> None:
    found = [Mistake(f"v{number:02d}", ("red",), "gre_en", 0.9 - number / 100, 0.05) for number in range(12, 6, -1)]
    strips = mistake_strips(coloured, found[:MAX_MISTAKES])
    assert sorted(strips) == ["v09", "v10", "v11"]  # v12 is not stored
    assert strips["v09"].shape == (HEIGHT, NUM_COLUMNS * HEIGHT + (NUM_COLUMNS - 1) * GAP, 3)
    assert strips["v09"][:, :HEIGHT].mean() > strips["v09"][:, -HEIGHT:].mean()  # green darkens: in the video's order
    runs = result("tdn", "rgb", 0.5, mistakes=found), result("tsn", "rgb", 1.0)
    page = page_of(tmp_path, *runs, strips=strips)
    assert "6 wrong</span>" in page and page.count('<img alt="frames of ') == 3 and "<br>v08" not in page
    assert "<b>red</b> 0.05, taken for <b>gre_en</b> 0.78<br>v12, of which nothing is stored" in page
    assert "No mistake: tsn-rgb." in page and "No frames are shown" not in page
    page = page_of(tmp_path, *runs)
    assert "No frames are shown: there are no shards" in page and "v12</figcaption>" in page and "<img" not in page
    assert "<h2>Mistakes" not in page_of(tmp_path, runs[1])
