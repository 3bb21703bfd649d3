"""Claims as data: what is refused, what belongs together, and what a training is the same by."""

from pathlib import Path

import pytest
import yaml

from tdn_data.models.claims.book import Book
from tdn_data.pipeline.errors import InputError
from tests.models.claims.small import CLAIM, RUN, SMALL, small_book

VLAD = {"layer": "res2"}
MAP = {"run": "first", "subnetwork": "image"}
PROJECT = Path(__file__).resolve().parents[3]


def with_run(name: str, **fields: object) -> dict:
    return SMALL["runs"] | {name: fields}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"runs": with_run("x", data="none", network="tsn")}, "runs.x.data: 'none' is not known; these are: tiny"),
        ({"runs": with_run("x", of="nobody")}, "runs.x.of: 'nobody' is not known"),
        ({"runs": with_run("x", network="tsn")}, "give data and network, or of alone"),
        ({"runs": with_run("x", of="first", train={"epochs": 2})}, "not trained again"),
        ({"runs": with_run("x", **RUN, train={"epochs": 0})}, "epochs is 0"),
        ({"runs": with_run("x", **RUN, train={"init": ["x"]})}, "leads back to x"),
        ({"runs": with_run("x", **RUN, train={"flow_share": 1.0})}, "tsn does not learn flow"),
        ({"runs": with_run("together", **RUN)}, "together is a run and a fusion"),
        ({"claims": {"c": CLAIM | {"steps": [{"sum": {"first": 1, "nobody": -1}}]}}}, "claims.c.steps: 'nobody'"),
        ({"claims": {"c": CLAIM | {"steps": []}}}, "give steps, or missing"),
        ({"seeds": [0]}, "at least 2"),
        ({"searches": {"s": {"run": "seen-longer", "vlad": VLAD}}}, "searches.s.run: 'seen-longer' is not known"),
        ({"searches": {"first": {"run": "first", "vlad": VLAD}}}, "first is a search and a run or fusion"),
        ({"maps": {"m": MAP | {"run": "nobody"}}}, "maps.m.run: 'nobody' is not known"),
        ({"maps": {"first": MAP}}, "first is a map and a run, fusion or search"),
        (
            {"maps": {"m": MAP}, "claims": {"c": CLAIM | {"steps": [{"sum": {"m": 1, "first": -1}}]}}},
            "searches are compared with searches alone, maps with maps",
        ),
        (
            {
                "searches": {"s": {"run": "first", "vlad": VLAD}},
                "claims": {"c": CLAIM | {"steps": [{"sum": {"s": 1, "first": -1}}]}},
            },
            "claims.c.steps: searches are compared with searches alone",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_its_key(changes, words):
    with pytest.raises(ValueError, match=words):
        small_book(**changes)


def test_claims_are_chosen_by_all_small_or_name():
    book = small_book()
    assert book.chosen("all") == ("longer-training", "fusion", "segments")
    assert book.chosen("small") == ("longer-training",)
    assert book.chosen("segments,fusion") == ("segments", "fusion")
    with pytest.raises(InputError, match="no claim is called 'x'; say all, small, or any of longer-training, fusion"):
        book.chosen("x")


def test_a_claim_trains_what_its_runs_start_from_first_and_a_training_once():
    book = small_book()
    assert book.trainings(["longer-training"]) == ("first", "longer")
    assert book.trainings(["segments"]) == ("first",)
    assert book.runs_of(["together", "first"]) == ("first", "longer")
    searching = small_book(searches={"s": {"run": "longer", "vlad": VLAD}})
    assert searching.runs_of(["s"]) == ("longer",)


def test_digest_follows_all_that_decides_the_weights_and_nothing_else():
    book = small_book()
    first, longer = (book.digest(name, seed=0) for name in ("first", "longer"))
    assert book.digest("first", seed=1) != first != longer
    assert book.digest("seen-longer", seed=0) == first
    tested = small_book(test=SMALL["test"] | {"num_clips": 3})
    assert tested.digest("longer", seed=0) == longer
    noisy = {"tiny": SMALL["data"]["tiny"] | {"demo": {"noise": 9}}}
    assert small_book(data=noisy).digest("first", seed=0) != first
    parent = SMALL["runs"] | {"first": RUN | {"train": {"epochs": 2}}}
    assert small_book(runs=parent).digest("longer", seed=0) != longer


def test_the_projects_own_book_is_whole():
    book = Book.model_validate(yaml.safe_load((PROJECT / "claims.yaml").read_text()))
    assert len(book.seeds) == 3
    assert set(book.chosen("small")) < set(book.claims)
    assert {name for claim in book.claims.values() for name in claim.names} >= {
        name for name, run in book.runs.items() if name not in book.trainings(book.claims)
    }


def test_maps_stand_for_their_runs():
    book = small_book(maps={"m": {"run": "longer", "subnetwork": "even"}})
    assert book.runs_of(["m"]) == ("longer",)
