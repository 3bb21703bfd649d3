"""Claims from nothing to a verdict: what is there is not made again, and what starts from another waits for it."""

import shutil
from dataclasses import replace
from itertools import product

import pytest

from tdn_data.models.claims.instances import NUM_INSTANCES
from tdn_data.models.claims.material import shard_folder
from tdn_data.models.claims.schedule import costs, make_runs, missing_runs
from tdn_data.models.claims.trained import Place, SeededRun, hits_of
from tdn_data.models.claims.verdict import judge
from tdn_data.pipeline.datasets.demo import CLASS_NAMES, render_clip
from tests.models.claims.small import CLAIM, small_book
from tests.models.conftest import write_shards

BOOK = small_book()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """All claims of the small book, made two at a time on shards that are there, and what was said meanwhile."""
    place, said, clips = Place(tmp_path_factory.mktemp("claims"), "test"), [], []
    for number, (split, label) in enumerate(product(("train", "val", "test"), range(len(CLASS_NAMES)))):
        frames = render_clip(CLASS_NAMES[label], seed=number, num_frames=8, size=24).frames
        clips.append((f"{split}{label}", split, (label,), frames))
    shards = shard_folder(place.folder, BOOK.data["tiny"], "rgb")
    shards.parent.mkdir(parents=True)
    write_shards(shards.parent, clips, class_names=CLASS_NAMES, name="demo")
    (shards.parent / "shards-rgb").rename(shards)
    make_runs(BOOK, BOOK.chosen("all"), place, jobs=2, say=said.append)
    return place, said


def weights_made(place):
    return {path: path.stat().st_mtime_ns for path in place.folder.rglob("checkpoint.pt")}


def test_every_run_is_trained_once_and_a_verdict_comes_out(made):
    place, said = made
    assert len(weights_made(place)) == len(BOOK.seeds) * len(BOOK.trainings(BOOK.claims)) == 4
    assert sum("seed" in words for words in said) == 6  # two trainings, and another test of the first
    assert said[-1].endswith("all done")
    for claim in BOOK.claims.values():
        hits = hits_of(claim.names, BOOK, place)
        assert {one.shape for one in hits.values()} == {(2, 8)}
        assert judge(claim, hits).verdict in ("holds", "fails", "undecided")
    assert set(costs(BOOK, place)) == {"first", "longer"}


def test_what_is_there_is_not_made_again_and_what_is_lost_is(made):
    place, _ = made
    before, said = weights_made(place), []
    make_runs(BOOK, BOOK.chosen("all"), place, jobs=1, say=said.append)
    assert (weights_made(place), said) == (before, [])
    lost = SeededRun("longer", 1)
    scores = lost.scores(BOOK, place).read_bytes()
    shutil.rmtree(lost.folder(BOOK, place))
    assert missing_runs(BOOK, ["fusion"], place) == [lost]
    make_runs(BOOK, BOOK.chosen("all"), place, jobs=1, say=said.append)
    assert [path for path, when in weights_made(place).items() if before[path] != when] == [
        lost.folder(BOOK, place) / "checkpoint.pt"
    ]
    assert lost.scores(BOOK, place).read_bytes() == scores


def test_other_clips_are_another_test_of_the_same_weights(made):
    place, _ = made
    validation = replace(place, split="val")
    before = weights_made(place)
    assert [run.name for run in missing_runs(BOOK, ["longer-training"], validation)] == ["first", "longer"] * 2
    make_runs(BOOK, ["longer-training"], validation, jobs=1, say=lambda words: None)
    assert weights_made(place) == before
    assert not missing_runs(BOOK, ["longer-training"], validation)


def test_a_search_needs_the_weights_of_its_run_alone_and_is_made_once(made):
    place, _ = made
    vlad = {"scales": [1], "input_size": 32, "num_words": 4, "num_dimensions": 16}
    layers = {"inner": "conv1", "last": "res5"}
    searches = {name: {"run": "first", "vlad": vlad | {"layer": layer}} for name, layer in layers.items()}
    book = small_book(searches=searches, claims={"layers": CLAIM | {"steps": [{"sum": {"inner": 1, "last": -1}}]}})
    assert not missing_runs(book, ["layers"], place)
    found = hits_of(("inner", "last"), book, place)
    assert {one.shape for one in found.values()} == {(2, NUM_INSTANCES)}
    assert judge(book.claims["layers"], found).verdict == "holds"
    written = {path: path.stat().st_mtime_ns for path in place.folder.rglob("test-search-*.json")}
    assert len(written) == 4
    assert (hits_of(["last"], book, place)["last"] == found["last"]).all()
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_a_changed_parameter_is_another_run(made):
    place, _ = made
    changed = small_book(train=BOOK.train | {"epochs": 2})
    assert len(missing_runs(changed, ["longer-training"], place)) == 4
