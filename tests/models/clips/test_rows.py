"""Decoded rows are kept within a budget, whatever reader and process they are for."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from tdn_data.models.clips.rows import ENTRY_BYTES, CachedRows, RowCache

ROW_BYTES = 8 * 8 * 3 + ENTRY_BYTES


@pytest.fixture
def reader(make_shards):
    frames = np.arange(100, dtype=np.uint8)[:, None, None, None] * np.ones((8, 8, 3), np.uint8)
    return make_shards([("a", "train", (0,), frames)], class_names=("x",))


def kept(cache: RowCache) -> list[int]:
    return sorted(row for _, _, row in cache._kept)


def test_rows_come_each_once_with_their_places_and_times(reader) -> None:
    rows = CachedRows(reader, RowCache(0)).read("a", np.array([[7, 3], [3, 9]]))
    assert [int(picture[0, 0, 0]) for picture in rows.pictures] == [3, 7, 9]
    assert rows.places.tolist() == [[1, 0], [0, 2]] and rows.frame_size == (8, 8) and rows.bound is None
    np.testing.assert_allclose(rows.pts_seconds, [[0.7, 0.3], [0.3, 0.9]])
    assert rows.data[..., 0, 0, 0].tolist() == [[7, 3], [3, 9]]


def test_the_budget_is_a_bound(reader) -> None:
    cache = RowCache(5 * ROW_BYTES - 1)
    frames = CachedRows(reader, cache)
    frames.read("a", np.array([[3, 99]]))
    frames.read("a", np.array([[4, 5, 6, 7]]))
    assert kept(cache) == [3, 4, 5, 99]
    assert frames.read("a", np.array([[3, 7]])).data[0, :, 0, 0, 0].tolist() == [3, 7]
    assert kept(cache) == [3, 4, 5, 99]


def test_readers_of_one_clip_share_the_budget(reader) -> None:
    cache = RowCache(3 * ROW_BYTES)
    other = pickle.loads(pickle.dumps(reader))
    other.modality = "flow"  # its rows are others
    for number, one in enumerate((reader, other)):
        CachedRows(one, cache).read("a", np.array([[number, 5]]))
    assert len(cache._kept) == 3


def test_a_copy_for_another_process_begins_empty(reader) -> None:
    frames = CachedRows(reader, RowCache(10 * ROW_BYTES))
    frames.read("a", np.array([[1]]))
    copy = pickle.loads(pickle.dumps(frames))
    assert kept(copy._cache) == []
    copy.read("a", np.array([[2]]))
    assert kept(copy._cache) == [2] and kept(frames._cache) == [1]


class Kept(Dataset):
    """Each item reads 20 rows and says how many the process has kept."""

    def __init__(self, reader, cache: RowCache) -> None:
        self._frames, self._cache = CachedRows(reader, cache), cache

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        self._frames.read("a", np.arange(20 * index, 20 * index + 20)[None])
        return len(self._cache._kept)


@pytest.mark.parametrize(("num_workers", "most"), [(0, 8), (1, 8), (2, 4)])
def test_the_processes_of_a_loader_share_the_budget(reader, num_workers: int, most: int) -> None:
    dataset = Kept(reader, RowCache(8 * ROW_BYTES))
    assert [int(count) for count in DataLoader(dataset, batch_size=None, num_workers=num_workers)] == [most] * 4
