"""A run from names to results: what it shows of its progress, what it records, and its picture."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tdn_data.models.retrieval.figures import layer_curves, scale_words
from tdn_data.models.retrieval.run import draw_curves, draw_sheet, plan_retrieval, retrieval_record, run_retrieval
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.images import read_image_file

SMALL = {"num_words": 8, "num_dimensions": 6, "input_size": 48, "max_features": 500}


def plan(root, **changes):
    options = {"backbone": "googlenet", "weights": None, "layers": (), "vocabulary_from": None, "device": "cpu"}
    return plan_retrieval("holidays", root, **options | {"seed": 0} | SMALL | changes)


@pytest.fixture(scope="module")
def run(holidays_folder):
    """A run over the rendered Holidays with the chapter's layer, and what it said of its progress."""
    said = []
    plan_ = plan(holidays_folder)
    return run_retrieval(plan_, batch_size=8, fail_above=0.01, on_progress=lambda *state: said.append(state)), said


def test_progress_is_counted_to_its_end_over_the_check_and_the_search(run):
    counts, totals, words = zip(*run[1], strict=True)
    assert list(counts) == sorted(counts) and set(totals) == {counts[-1]} == {4 * 32}
    assert words[0] == words[31] == "checking holidays" and words[-1] == "inception3a: searching"


def test_the_record_is_plain_data_that_says_what_decides_the_numbers(run, holidays_folder):
    record = retrieval_record(run[0])
    assert json.loads(json.dumps(record))["options"] == {
        "scales": [1, 2], "num_words": 8, "num_dimensions": 6, "input_size": 48, "max_features": 500,
        "max_projection_images": 2048, "seed": 0, "layers": ["inception3a"],
    }  # fmt: skip
    assert (record["backbone"], record["trained"], record["weights"]) == ("googlenet", False, None)
    assert record["searched"] == record["learned_on"] == {
        "dataset": "holidays", "root": str(holidays_folder), "num_images": 32, "num_queries": 8,
        "num_images_published": 1491, "unreadable": (), "missing": (),
    }  # fmt: skip


def test_the_sheet_is_of_the_best_result(run, tmp_path):
    assert run[0].best.score.mean_average_precision == max(one.score.mean_average_precision for one in run[0].results)
    draw_sheet(tmp_path / "sheet.png", run[0], num_queries=2)
    assert read_image_file(tmp_path / "sheet.png").shape[0] > 2 * 136


def test_the_curves_are_map_by_layer_for_each_set_of_scales(run, tmp_path):
    draw_curves(tmp_path / "curves.png", run[0])
    before = (tmp_path / "curves.png").read_bytes()
    draw_curves(tmp_path / "curves.png", run[0])
    assert (tmp_path / "curves.png").read_bytes() == before and read_image_file(tmp_path / "curves.png").std() > 1
    results = [replace(one, layer=layer) for layer in ("3a", "4a") for one in run[0].results]
    lines = layer_curves(results, title="").axes[0].get_lines()
    assert [line.get_label() for line in lines] == ["scale 1", "scale 2", "scales 1 + 2"]
    assert [line.get_linestyle() for line in lines] == ["-", "--", ":"]
    values = [100 * one.score.mean_average_precision for one in run[0].results]
    assert [line.get_ydata().tolist() for line in lines] == [[value, value] for value in values]


def test_a_set_of_another_kind_to_learn_on_is_refused_before_the_network_is_built(holidays_folder):
    with pytest.raises(InputError, match="ucf101 is a data set of videos, not for retrieval"):
        plan(holidays_folder, vocabulary_from=("ucf101", holidays_folder), backbone="no such network")


def test_scales_are_said_alone_and_together():
    assert (scale_words((2,)), scale_words((1, 2))) == ("scale 2", "scales 1 + 2")
