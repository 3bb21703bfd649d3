"""The rules of Holidays, Oxford and Paris, against values worked out by hand."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest
from PIL import Image

from tdn_data.models.retrieval.image_sets import RetrievalQuery, read_holidays
from tdn_data.models.retrieval.ranking import (
    NUM_READERS,
    ImageFiles,
    average_precision,
    rank_rows,
    read_ahead,
    relative_distances,
    score_ranking,
    split_readable,
)
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.images import read_image_file


@pytest.mark.parametrize(
    ("ranking", "num_positives", "expected"),
    [
        ("+", 1, Fraction(1)),
        ("++-", 2, Fraction(1)),
        # one step of 1/1, from precision 0 before the hit to 1/2 after it
        ("-+", 1, Fraction(1, 4)),
        ("--+", 1, Fraction(1, 6)),
        # steps of 1/2: (1 + 1)/2, then (1/2 + 2/3)/2
        ("+-+", 2, (1 + Fraction(7, 12)) / 2),
        # (0 + 1/2)/2, (1/2 + 2/3)/2, then (2/4 + 3/5)/2
        ("-++-+", 3, (Fraction(1, 4) + Fraction(7, 12) + Fraction(11, 20)) / 3),
        # an answer that never comes adds nothing, but counts
        ("+--", 2, Fraction(1, 2)),
        ("---", 1, Fraction(0)),
    ],
)
def test_average_precision_by_trapezoids(ranking, num_positives, expected):
    assert average_precision([mark == "+" for mark in ranking], num_positives) == pytest.approx(float(expected))


def test_average_precision_equals_the_running_sum():
    """The published evaluation programs step through the ranking and add the area under the last segment."""
    generator = np.random.default_rng(0)
    for _ in range(20):
        relevant = generator.random(30) < 0.3
        relevant[generator.integers(30)] = True
        area, recall, precision, hits = 0.0, 0.0, 1.0, 0
        for rank, hit in enumerate(relevant):
            hits += hit
            new_recall, new_precision = hits / relevant.sum(), hits / (rank + 1)
            area += (new_recall - recall) * (precision + new_precision) / 2
            recall, precision = new_recall, new_precision
        assert average_precision(relevant, int(relevant.sum())) == pytest.approx(area)


@pytest.mark.parametrize("num_positives", [0, 1])
def test_more_hits_than_answers_is_refused(num_positives):
    with pytest.raises(ValueError, match=f"num_positives is {num_positives}; expected at least 1 and at least 2"):
        average_precision([True, True], num_positives)


def test_ranking_is_by_distance_with_ties_in_order():
    database = np.array([[0, 1], [3, 0], [0, 0], [0, -1]])
    distances = relative_distances(np.array([[0, 0], [3, 0]]), database)
    assert rank_rows(distances).tolist() == [[2, 0, 3, 1], [1, 2, 0, 3]]
    with pytest.raises(ValueError, match="expected"):
        relative_distances(np.zeros((1, 3)), database)


def test_ranking_is_that_of_scikit_learns_exact_search():
    from sklearn.neighbors import NearestNeighbors

    generator = np.random.default_rng(0)
    database = generator.normal(size=(500, 128)).astype(np.float32)
    queries = np.concatenate([database[:20], generator.normal(size=(20, 128)).astype(np.float32)])
    peer = NearestNeighbors(n_neighbors=500, algorithm="brute").fit(database.astype(np.float64))
    distances, expected = peer.kneighbors(queries.astype(np.float64))
    assert np.diff(distances).min() > 1e-9  # no ties, which each may break in its own way
    found = rank_rows(relative_distances(queries, database))
    assert (found[:20, 0] == np.arange(20)).all()
    swapped = found != expected  # neighbours that float32 cannot tell apart
    assert swapped.mean() < 1e-3
    own = np.linalg.norm(queries[:, None].astype(np.float64) - database[found], axis=2)
    np.testing.assert_allclose(own, distances, atol=2e-6)


def score_of(queries, descriptors):
    """Rank all descriptors (image name -> (D,)) for each query and score them."""
    asked = np.stack([descriptors[query.image] for query in queries])
    distances = relative_distances(asked, np.stack(list(descriptors.values())))
    return score_ranking(queries, list(descriptors), rank_rows(distances))


# one dimension: the ranking for the query at 0 is q a j b c by distance
LINE = {name: np.array([place]) for name, place in {"q": 0.0, "a": 1.0, "j": 2.0, "b": 3.0, "c": 4.0}.items()}


def test_junk_is_taken_out_and_the_query_may_count():
    landmark = RetrievalQuery("hall_1", "q", positives=frozenset("qb"), ignored=frozenset("j"))
    # ranking q a b c: steps (1 + 1)/2 and (1/2 + 2/3)/2
    score = score_of([landmark], LINE)
    assert score.mean_average_precision == pytest.approx((1 + 7 / 12) / 2)
    without_rule = score_of([RetrievalQuery("hall_1", "q", positives=frozenset("qb"))], LINE)
    assert without_rule.mean_average_precision == pytest.approx((1 + (1 / 3 + 2 / 4) / 2) / 2)


def test_a_holidays_query_is_left_out_of_its_own_ranking():
    descriptors = {"100100": [0.0], "100101": [2.0], "100200": [1.0], "100201": [10.0]}
    descriptors = {name: np.array(value) for name, value in descriptors.items()}
    queries = [
        RetrievalQuery(query, query, frozenset([answer]), ignored=frozenset([query]))
        for query, answer in (("100100", "100101"), ("100200", "100201"))
    ]
    score = score_of(queries, descriptors)
    # 100100: 100200 100101 100201 -> hit at rank 1; 100200: 100100 and 100101, both at 1, then 100201 -> rank 2
    assert score.average_precisions == pytest.approx({"100100": 1 / 4, "100200": 1 / 6})
    assert score.mean_average_precision == pytest.approx(5 / 24)
    assert score.first_ranks["100100"] == ("100200", "100101", "100201")


def test_answers_that_are_not_in_the_database_count_as_never_found():
    score = score_of([RetrievalQuery("x", "q", positives=frozenset(["a", "lost"]), ignored=frozenset("q"))], LINE)
    assert (score.mean_average_precision, score.num_missing_positives) == (0.5, 1)


def test_images_are_found_read_as_rgb_and_damaged_ones_named(tmp_path):
    image = np.zeros((4, 6, 3), np.uint8)
    image[..., 2] = 200  # red for OpenCV
    (tmp_path / "sub").mkdir()
    cv2.imwrite(str(tmp_path / "sub/100000.png"), image)
    (tmp_path / "100001.jpg").write_bytes(b"not an image")
    (tmp_path / "100002.jpg").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no image")
    images = read_holidays(tmp_path).images
    readable, unreadable = split_readable(images)
    assert (list(readable), sorted(unreadable)) == (["100000"], ["100001", "100002"])
    (found,) = ImageFiles(tuple(readable.values()))
    assert found.shape == (4, 6, 3) and (found == (200, 0, 0)).all()
    with pytest.raises(InputError, match="does not decode"):
        ImageFiles((images["100001"],))[0]


def test_reading_ahead_keeps_the_order_and_few_images():
    asked, taken = [], []

    class Images(list):
        def __getitem__(self, index):
            asked.append(index)
            return super().__getitem__(index)

    for image in read_ahead(Images(range(50))):
        taken.append(image)
        assert len(asked) - len(taken) <= 2 * NUM_READERS
    assert taken == list(range(50)) == sorted(asked)


def test_reading_ahead_passes_a_fault_on_in_its_place(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((4, 4, 3), np.uint8))
    reading = read_ahead(ImageFiles((tmp_path / "a.png", tmp_path / "gone.png")))
    assert next(reading).shape == (4, 4, 3)
    with pytest.raises(InputError, match="gone.png does not decode"):
        next(reading)


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (6, -1), (3, 2), (8, 1)])
def test_a_photo_is_turned_as_its_orientation_tag_says(tmp_path, orientation, turns):
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, :16] = 255
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95, exif=_orientation_tag(orientation))
    expected = np.rot90(pixels, turns)
    for image in (ImageFiles((tmp_path / "a.jpg",))[0], read_image_file(tmp_path / "a.jpg")):
        assert image.shape == expected.shape
        assert np.abs(image.astype(int) - expected).mean() < 8


def _orientation_tag(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif
