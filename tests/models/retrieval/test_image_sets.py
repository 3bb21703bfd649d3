"""The lists of Holidays, Oxford and Paris, and what is said of copies that lack something."""

import re

import pytest

from tdn_data.models.retrieval.image_sets import IMAGE_SETS, RetrievalQuery, read_image_set
from tdn_data.pipeline.datasets.registry import DATASETS
from tdn_data.pipeline.errors import InputError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_in_holidays_the_first_of_a_hundred_asks_for_the_rest(tmp_path):
    touch(tmp_path, *(f"jpg/{number}.jpg" for number in (100000, 100001, 100002, 100100, 100101)))
    holidays = read_image_set("holidays", tmp_path)
    assert len(holidays.images) == 5
    first, second = holidays.queries
    assert holidays.images[first.image] == tmp_path / "jpg/100000.jpg"
    assert first.positives == {"100001", "100002"}
    assert first.ignored == {"100000"}  # the query is not ranked against itself
    assert (second.name, second.positives, second.box) == ("100100", {"100101"}, None)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("100001.jpg",), "the group 100000 to 100099 is without its query"),
        (("100000.jpg",), "the group 100000 to 100099 is without an answer"),
        (("cat.jpg",), "cat.jpg: Holidays' images are named by six digits"),
        (("notes.txt",), "holds no image"),
    ],
)
def test_holidays_with_images_missing_are_refused(tmp_path, names, message):
    touch(tmp_path, *names)
    with pytest.raises(InputError, match=message):
        read_image_set("holidays", tmp_path)


def make_oxford(root, *, query="oxc1_all_souls_000013 136.5 34.1 648.5 955.7\n", junk="all_souls_000003\n"):
    touch(root, *(f"oxbuild_images/all_souls_{number:06d}.jpg" for number in (1, 2, 3, 13)), "gt/readme.txt")
    (root / "gt/all_souls_1_query.txt").write_text(query)
    (root / "gt/all_souls_1_good.txt").write_text("all_souls_000013\nall_souls_000001\n")
    (root / "gt/all_souls_1_ok.txt").write_text("all_souls_000002\n")
    (root / "gt/all_souls_1_junk.txt").write_text(junk)
    return root


def test_oxfords_good_and_ok_images_answer_and_junk_is_ignored(tmp_path):
    oxford = read_image_set("oxford5k", make_oxford(tmp_path))
    (query,) = oxford.queries
    assert (query.name, query.image) == ("all_souls_1", "all_souls_000013")
    assert query.positives == {f"all_souls_{number:06d}" for number in (1, 2, 13)}
    assert query.ignored == {"all_souls_000003"}
    assert len(oxford.images) == 4 and oxford.missing() == ()
    assert query.box == (136.5, 34.1, 648.5, 955.7)


def test_a_query_without_junk_has_an_empty_list(tmp_path):
    assert read_image_set("oxford5k", make_oxford(tmp_path, junk="")).queries[0].ignored == frozenset()


def test_paris_names_its_queries_without_a_prefix(tmp_path):
    make_oxford(tmp_path, query="all_souls_000013 1 2 3 4\n")
    paris = read_image_set("paris6k", tmp_path)
    assert paris.dataset == "paris6k" and paris.queries[0].image == "all_souls_000013"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"query": "oxc1_all_souls_000013 1 2 3\n"},
            "all_souls_1_query.txt, line 1: expected an image and its rectangle",
        ),
        ({"query": "oxc1_all_souls_000013 1 2 3 x\n"}, "line 1: expected an image and its rectangle"),
        (
            {"query": "oxc1_all_souls_000014 1 2 3 4\n"},
            "query.txt, line 1: the query's image 'all_souls_000014' is not there",
        ),
        ({"junk": "all_souls_000001\n"}, "all_souls_1_good.txt and _ok.txt must name an image, and none of the junk"),
    ],
)
def test_a_wrong_list_is_named_with_its_line(tmp_path, changed, message):
    with pytest.raises(InputError, match=message):
        read_image_set("oxford5k", make_oxford(tmp_path, **changed))


def test_an_answer_without_an_image_is_named_and_still_counts(tmp_path):
    make_oxford(tmp_path)
    (tmp_path / "oxbuild_images/all_souls_000002.jpg").unlink()
    oxford = read_image_set("oxford5k", tmp_path)
    assert oxford.missing() == ("all_souls_000002",) and len(oxford.queries[0].positives) == 3


@pytest.mark.parametrize(("positives", "fault"), [((), "no positives"), (("a", "b"), "'b' on both sides")])
def test_a_query_that_cannot_be_judged_is_refused(positives, fault):
    with pytest.raises(ValueError, match=f"query 'q' has {fault}; it needs positives, none of them ignored"):
        RetrievalQuery("q", "a", frozenset(positives), frozenset({"b"}))


@pytest.mark.parametrize("name", IMAGE_SETS)
def test_every_image_set_says_where_it_comes_from_and_how_it_must_lie(name):
    spec = IMAGE_SETS[name]
    assert spec.name == name and spec.kind == "retrieval" and name not in DATASETS
    assert "ROOT" in spec.layout and spec.source and spec.used_by and spec.title
    assert "extract" not in spec.used_by


@pytest.mark.parametrize("name", IMAGE_SETS)
def test_every_reader_names_a_folder_that_is_missing_or_empty(name, tmp_path):
    with pytest.raises(InputError, match="nowhere does not exist; --root must be the folder that holds the data set"):
        read_image_set(name, tmp_path / "nowhere")
    with pytest.raises(InputError, match="missing|holds no|does not exist"):
        read_image_set(name, tmp_path)


@pytest.mark.parametrize("name", ["fcvid", "sintel"])
def test_sets_that_are_not_for_retrieval_say_whom_they_serve(name, tmp_path):
    message = f"{name} is a data set of {DATASETS[name].kind}, not for retrieval; it serves {DATASETS[name].used_by}"
    with pytest.raises(InputError, match=re.escape(message)):
        read_image_set(name, tmp_path)


def test_an_unknown_image_set_lists_the_known_ones(tmp_path):
    with pytest.raises(InputError, match="unknown data set 'holydays'; known data sets: .*fcvid, .*holidays, oxford5k"):
        read_image_set("holydays", tmp_path)
