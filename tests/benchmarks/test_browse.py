"""The page on a set that is larger than what it may read: bytes and rows are bounded, seconds are not asserted."""

import pytest

from tdn_data.benchmarks.browse import PAGES, ask_pages, run, served, write_set

NUM_VIDEOS, PER_PAGE = 1500, 60
ROWS_OF_THE_PLAYER = 2 * 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("set")
    write_set(root, NUM_VIDEOS)
    return root


def test_pages_read_the_lists_and_the_rows_that_they_show(folder):
    with served(folder) as (url, _, ask):
        counts = ask_pages(url, ask)
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    lists = sum(size for name, size in sizes.items() if "-of-" not in name)
    footers = sum(size for name, size in sizes.items() if name.startswith("frames-"))  # tiny rows: footers are most
    assert counts["rows_read"] <= PER_PAGE * (len(PAGES) - 2) + ROWS_OF_THE_PLAYER + 8
    assert counts["bytes_read"] < 4 * lists + 3 * footers + 4_000_000
    assert counts["memory_bytes"] < 500_000_000


def test_no_videos_are_refused():
    with pytest.raises(ValueError, match="num_videos is 0"):
        run(num_videos=0)
