"""Whole searches of rendered sets: what is found, what is lost, and the picture of it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from tdn_data.models.retrieval.figures import ANSWER, OTHER, search_sheet
from tdn_data.models.retrieval.image_sets import read_image_set
from tdn_data.models.retrieval.ranking import ImageFiles, RetrievalScore, rank_rows, relative_distances, score_ranking
from tdn_data.models.retrieval.search import (
    SearchResult,
    check_database,
    choose_layers,
    num_readings,
    retrieval_network,
    search_layers,
    table_layers,
)
from tdn_data.models.retrieval.vlad import encode_together, fit_encoders
from tdn_data.models.retrieval.vlad_options import VladOptions
from tdn_data.pipeline.errors import InputError, PipelineError
from tdn_data.pipeline.progress import Tally
from tdn_data.pipeline.view.sheet import INK, MARGIN

OPTIONS = VladOptions(layer="inception3a", num_words=16, num_dimensions=8, input_size=48, max_features=2000)


@pytest.fixture(scope="module")
def network():
    return retrieval_network("googlenet", device="cpu")


@pytest.fixture(scope="module")
def holidays(holidays_folder):
    return check_database(read_image_set("holidays", holidays_folder))


@pytest.fixture(scope="module")
def found(network, holidays):
    """The rendered Holidays, searched in two layers."""
    return search_layers(
        network, holidays, [OPTIONS, OPTIONS.model_copy(update={"layer": "maxpool2", "num_dimensions": None})]
    )


def test_every_layer_is_searched_at_each_scale_and_at_both(found):
    assert [(one.layer, one.scales, one.num_dimensions) for one in found] == [
        ("inception3a", (1,), 8),
        ("inception3a", (2,), 8),
        ("inception3a", (1, 2), 8),
        ("maxpool2", (1,), 16 * 192),
        ("maxpool2", (2,), 16 * 192),
        ("maxpool2", (1, 2), 2 * 16 * 192),
    ]


def test_the_other_views_of_a_scene_are_found(found):
    # random descriptors give 0.13 here
    assert min(one.score.mean_average_precision for one in found) > 0.8
    assert all(len(one.score.average_precisions) == 8 and one.score.num_missing_positives == 0 for one in found)


def test_searching_batch_by_batch_equals_describing_all_and_ranking(network, holidays, found):
    files, names, queries = (
        ImageFiles(tuple(holidays.images.values())),
        list(holidays.images),
        holidays.retrieval.queries,
    )
    encoders = fit_encoders(network, files, OPTIONS, [(1, 2)])
    descriptors = np.concatenate([batch for (batch,) in encode_together(encoders, files, batch_size=5)])
    asked = descriptors[[names.index(query.image) for query in queries]]
    expected = score_ranking(queries, names, rank_rows(relative_distances(asked, descriptors)))
    assert found[2].score.first_ranks == expected.first_ranks
    assert found[2].score.mean_average_precision == pytest.approx(expected.mean_average_precision)


def test_every_reading_of_an_image_is_reported(network, holidays):
    reported = []
    runs = [
        OPTIONS.model_copy(update={"layer": "maxpool1", "max_projection_images": 20}),
        OPTIONS.model_copy(update={"num_dimensions": None}),
    ]
    tally = Tally(num_readings(runs, 32, 32), lambda *state: reported.append(state))
    search_layers(network, holidays, runs, tally=tally)
    assert tally.num_done == tally.num_total == (32 + 20 + 32) + (32 + 32)
    assert {what for _, _, what in reported} >= {"maxpool1: k-means", "maxpool1: PCA", "inception3a: searching"}


def test_in_paris_the_query_counts_junk_does_not_and_another_set_may_teach(network, holidays, paris_folder):
    paris = check_database(read_image_set("paris6k", paris_folder))
    options = OPTIONS.model_copy(update={"scales": (2,), "num_dimensions": None})
    own, other = (search_layers(network, paris, [options], learn_on=one)[0].score for one in (None, holidays))
    assert own.first_ranks != other.first_ranks
    for score in (own, other):
        assert score.mean_average_precision == 1
        for query in paris.retrieval.queries:
            ranks = score.first_ranks[query.name]
            assert ranks[0] == query.image and not query.ignored & set(ranks)


def copies(root, *, num_scenes=4, num_copies=3):
    """Write scenes whose images are all the same, as Holidays: whatever the network, answers come first."""
    for scene in range(num_scenes):
        image = np.random.default_rng(scene).integers(0, 256, (8, 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        for number in range(num_copies):
            cv2.imwrite(str(root / f"{100000 + 100 * scene + number}.png"), image)
    return read_image_set("holidays", root)


WHOLE = VladOptions(layer="maxpool1", scales=(1,), num_words=4, num_dimensions=None, input_size=32)


def test_copies_are_all_found_and_what_is_damaged_is_lost_to_its_query_alone(network, tmp_path):
    retrieval = copies(tmp_path)
    (result,) = search_layers(network, check_database(retrieval), [WHOLE])
    assert result.score.mean_average_precision == 1
    (tmp_path / "100101.png").write_bytes(b"\x89PNG no more")
    (tmp_path / "100202.png").write_bytes(b"")
    database = check_database(retrieval, fail_above=0.2)
    assert database.unreadable == ("100101", "100202") and len(database.images) == 10
    (result,) = search_layers(network, database, [WHOLE])
    assert result.score.average_precisions == {"100000": 1, "100100": 0.5, "100200": 0.5, "100300": 1}
    assert (result.score.mean_average_precision, result.score.num_missing_positives) == (0.75, 2)


def test_more_than_few_lost_images_end_the_run_with_their_names(tmp_path, paris_folder):
    retrieval = copies(tmp_path)
    for name in ("100101", "100202"):
        (tmp_path / f"{name}.png").write_bytes(b"\x89PNG no more")
    message = (
        r"2 of the 12 images of holidays are missing or do not decode, more than --fail-above 0.1: 100101, 100202\."
    )
    with pytest.raises(PipelineError, match=message):
        check_database(retrieval, fail_above=0.1)
    paris = read_image_set("paris6k", paris_folder)
    less = replace(paris, images={name: path for name, path in paris.images.items() if not name.endswith("1")})
    with pytest.raises(
        PipelineError, match="6 of the 24 images of paris6k are missing.*: paris_scene0_000001, .* and 1 m"
    ):
        check_database(less)
    assert len(check_database(less, fail_above=0.25).missing) == 6


def test_a_query_that_does_not_decode_is_named(network, tmp_path):
    retrieval = copies(tmp_path)
    (tmp_path / "100100.png").write_bytes(b"")
    with pytest.raises(InputError, match="the images of 1 queries do not decode: 100100"):
        search_layers(network, check_database(retrieval, fail_above=1), [WHOLE])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_dimensions": 32}, "num_dimensions is 32; a PCA of 32 images allows at most 31"),
        (
            {"num_dimensions": 8, "max_projection_images": 8},
            "num_dimensions is 8; a PCA of 8 images allows at most 7",
        ),
        ({"num_words": 129, "layer": "inception5b", "scales": (1,)}, "num_words is 129; .* local features, 128"),
    ],
)
def test_options_that_the_images_do_not_allow_are_refused(network, holidays, options, message):
    with pytest.raises(ValueError, match=message):
        search_layers(network, holidays, [OPTIONS.model_copy(update=options)])


def test_layers_are_the_chapters_unless_named(network):
    assert choose_layers("googlenet", network, "paris6k") == ("inception4e",)
    assert choose_layers("googlenet", network, "paris6k", named=["conv1", "conv3", "conv1"]) == ("conv1", "conv3")
    with pytest.raises(ValueError, match="layer is 'inception9'; layers of GoogLeNet: conv1, maxpool1"):
        choose_layers("googlenet", network, "holidays", named=["inception9"])
    assert table_layers("googlenet", network)[0] == "maxpool1" and len(table_layers("googlenet", network)) == 11


def test_a_backbone_that_the_chapter_has_not_needs_a_layer():
    resnet = retrieval_network("resnet18", device="cpu")
    with pytest.raises(ValueError, match="layer is not given, and the chapter has no resnet18; its layers: conv1"):
        choose_layers("resnet18", resnet, "holidays")
    assert "res5" in table_layers("resnet18", resnet)


def test_an_untrained_network_is_drawn_by_its_seed_and_leaves_the_callers_generator_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, same, other = (retrieval_network("resnet18", seed=seed, device="cpu") for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    weights = [network.state_dict()["conv1.weight"] for network in (one, same, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert not one.training
    torch.save(one.state_dict(), tmp_path / "weights.pth")
    loaded = retrieval_network("resnet18", weights=tmp_path / "weights.pth", seed=2, device="cpu")
    assert torch.equal(loaded.state_dict()["conv1.weight"], weights[0])


def test_the_device_is_the_gpu_only_where_there_is_one():
    network = retrieval_network("resnet18", device="auto")
    assert next(network.parameters()).is_cuda == torch.cuda.is_available()


def test_unknown_devices_are_refused():
    with pytest.raises(ValueError, match="device is 'gpu'; expected auto, cpu or cuda"):
        retrieval_network("resnet18", device="gpu")


def test_the_sheet_frames_answers_green_and_others_red_from_best_to_worst(tmp_path):
    database = check_database(copies(tmp_path, num_scenes=2))
    ranks = {"100000": ("100001", "100100", "100002"), "100100": ("100101", "100102", "100000")}
    score = RetrievalScore(0.9, {"100000": 0.8, "100100": 1.0}, 0, ranks)
    sheet = search_sheet(database, SearchResult("x", (1,), 8, score), title="a title", num_ranks=3, side=64)
    rows = framed_cells(sheet, side=64)
    assert rows == [["ink", "green", "green", "red"], ["ink", "green", "red", "green"]]
    only = search_sheet(
        database, SearchResult("x", (1,), 8, score), title="a title", num_queries=1, num_ranks=2, side=64
    )
    assert framed_cells(only, side=64) == [["ink", "green", "green"]]
    with pytest.raises(ValueError, match="1 queries of 21 ranks; expected 1 or more of 1 to 20"):
        search_sheet(database, SearchResult("x", (1,), 8, score), title="", num_queries=1, num_ranks=21)


def framed_cells(sheet, *, side):
    """Return the colours of the frames in each row of a sheet; a row is where the query's frame has its left edge."""
    names = {INK: "ink", ANSWER: "green", OTHER: "red"}
    left_edge = (sheet[:, MARGIN] == INK).all(axis=1)
    tops = [y for y in range(1, len(sheet) - side) if left_edge[y : y + side].all() and not left_edge[y - 1]]
    middles = range(MARGIN + side // 2, sheet.shape[1], side + MARGIN)
    return [[names[colour] for x in middles if (colour := tuple(sheet[top, x].tolist())) in names] for top in tops]
