"""Clips from shards: which rows, which targets, and that they depend on nothing but seed, epoch and video."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tdn_data.models.backbones.base import IMAGENET_MEAN, IMAGENET_STD
from tdn_data.models.clips.augment import Augment
from tdn_data.models.clips.dataset import (
    ClipDataset,
    ClipShape,
    split_videos,
    target_of,
)
from tdn_data.models.clips.pixels import normalize_batch
from tdn_data.models.clips.views import video_views
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.shards.reader import ShardReader

SHAPE = ClipShape(num_segments=3, snippet_length=1, size=8)


def numbered(make_shards, *, num_frames: int = 12, channels: int = 3, labels=(0,), **options) -> ShardReader:
    """Return a reader of one training video whose frame n has the value 20 n everywhere."""
    values = (20 * np.arange(num_frames)).astype(np.uint8)[:, None, None, None]
    data = np.ascontiguousarray(np.broadcast_to(values, (num_frames, 8, 8, channels)))
    return make_shards([("a", "train", labels, data)], class_names=("x", "y", "z"), **options)


def dataset_of(reader: ShardReader, *, shape: ClipShape = SHAPE, **options) -> ClipDataset:
    return ClipDataset(reader, split="train", shape=shape, augment=Augment(shape.size, "center"), **options)


def counting(monkeypatch) -> list[int]:
    """Return a list that grows by the number of rows that are decoded at each call of a reader."""
    counts, read = [], ShardReader.read_pictures

    def counted(self, video_id, rows=None):
        stored = read(self, video_id, rows)
        counts.append(len(stored.pictures))
        return stored

    monkeypatch.setattr(ShardReader, "read_pictures", counted)
    return counts


def frame_numbers(clip: torch.Tensor) -> list[list[int]]:
    """Return the number of each frame of a clip (S, K, C, H, W) from `numbered`."""
    level = clip[:, :, 0, 0, 0] * IMAGENET_STD[0] + IMAGENET_MEAN[0]
    return (level * 255 / 20).round().int().tolist()


def test_training_clip_takes_one_frame_of_each_segment(make_shards) -> None:
    dataset = dataset_of(numbered(make_shards))
    drawn = np.array([frame_numbers(dataset[epoch, 0][0]) for epoch in range(40)])[:, :, 0]
    for segment in range(3):
        assert set(drawn[:, segment]) == set(range(4 * segment, 4 * segment + 4))


def test_flow_snippets_are_consecutive_pairs_inside_their_segments(make_shards) -> None:
    reader = numbered(make_shards, channels=2)
    clip, _ = dataset_of(reader, shape=ClipShape(2, 5, 8))[0, 0]
    assert clip.shape == (2, 5, 2, 8, 8)
    steps = clip[:, 1:, 0, 0, 0] - clip[:, :-1, 0, 0, 0]
    torch.testing.assert_close(steps, torch.full_like(steps, 20 / 255 / 0.226))


def test_clip_depends_on_seed_epoch_and_index_alone(coloured: ShardReader) -> None:
    one, other = (dataset_of(coloured, seed=5) for _ in range(2))
    forwards = [one[2, index][0] for index in range(len(one))]
    backwards = [other[2, index][0] for index in reversed(range(len(other)))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(forwards, backwards, strict=True))
    assert not all(torch.equal(a, one[3, index][0]) for index, a in enumerate(forwards))
    reseeded = dataset_of(coloured, seed=6)
    assert not all(torch.equal(a, reseeded[2, index][0]) for index, a in enumerate(forwards))


def test_loader_processes_give_the_same_clips(coloured: ShardReader) -> None:
    batches = [[(0, 3), (0, 1)], [(1, 3), (1, 2)]]
    here, elsewhere = (
        list(DataLoader(dataset_of(coloured), batch_sampler=batches, num_workers=count)) for count in (0, 2)
    )
    for (clips, targets), (same_clips, same_targets) in zip(here, elsewhere, strict=True):
        assert torch.equal(clips, same_clips)
        assert torch.equal(targets, same_targets)


def test_cache_changes_nothing(coloured: ShardReader) -> None:
    cached, uncached = dataset_of(coloured), dataset_of(coloured, cache_bytes=0)
    for index in range(len(cached)):
        assert torch.equal(cached[0, index][0], uncached[0, index][0])


def test_dataset_travels_to_other_processes(coloured: ShardReader) -> None:
    dataset = dataset_of(coloured)
    assert torch.equal(pickle.loads(pickle.dumps(dataset))[0, 0][0], dataset[0, 0][0])


def test_mirrored_clip_gets_its_partners_label(make_shards) -> None:
    reader = numbered(make_shards, labels=(1,))
    dataset = ClipDataset(
        reader, split="train", shape=SHAPE, augment=Augment(8, "center", mirror=True), mirror_labels=(0, 2, 1)
    )
    assert {int(dataset[epoch, 0][1]) for epoch in range(20)} == {1, 2}


def test_targets_are_a_class_or_a_vector() -> None:
    assert target_of((2,), False, 4).item() == 2
    assert target_of((0, 3), True, 4).tolist() == [1, 0, 0, 1]
    assert target_of((), True, 2).tolist() == [0, 0]


def test_short_video_is_padded_with_its_last_frame(make_shards) -> None:
    clip, _ = dataset_of(numbered(make_shards, num_frames=2), shape=ClipShape(2, 3, 8))[0, 0]
    assert frame_numbers(clip) == [[0, 1, 1], [0, 1, 1]]


def test_a_video_shorter_than_the_protocol_is_repeated_from_its_start(make_shards) -> None:
    reader = numbered(make_shards, num_frames=4)
    every_frame = ClipShape(10, 1, 8)
    clip, _ = dataset_of(reader, shape=every_frame, repeat_to=10)[0, 0]
    assert frame_numbers(clip) == [[number % 4] for number in range(10)]
    views = video_views(reader, reader.videos[0], every_frame, num_clips=1, num_crops=1, repeat_to=10)
    assert torch.equal(views[0], clip)
    assert torch.equal(dataset_of(reader, shape=every_frame, repeat_to=10, cache_bytes=0)[0, 0][0], clip)


def test_snippets_run_across_the_seam_of_a_repeated_video(make_shards) -> None:
    reader = numbered(make_shards, num_frames=4)
    clip, _ = dataset_of(reader, shape=ClipShape(1, 9, 8), repeat_to=9)[0, 0]
    assert frame_numbers(clip) == [[0, 1, 2, 3, 0, 1, 2, 3, 0]]


def test_a_video_as_long_as_the_protocol_is_taken_as_it_is(make_shards) -> None:
    reader = numbered(make_shards, num_frames=12)
    for repeat_to in (None, 5, 12):
        views = video_views(reader, reader.videos[0], SHAPE, num_clips=3, num_crops=1, repeat_to=repeat_to)
        assert torch.equal(views, video_views(reader, reader.videos[0], SHAPE, num_clips=3, num_crops=1))


def test_videos_of_several_sizes_give_clips_of_one_size(make_shards) -> None:
    sizes = ((16, 24), (30, 16), (16, 17))
    frames = [np.zeros((6, height, width, 3), np.uint8) for height, width in sizes]
    videos = [(f"v{number}", "train", (0,), data) for number, data in enumerate(frames)]
    reader = make_shards(videos, class_names=("x", "y"))
    dataset = ClipDataset(reader, split="train", shape=ClipShape(3, 1, 16), augment=Augment(16, "corner", mirror=True))
    ((clips, _),) = DataLoader(dataset, batch_sampler=[[(0, 0), (0, 1), (0, 2)]])
    assert clips.shape == (3, 3, 1, 3, 16, 16)
    for video in reader.videos:
        assert video_views(reader, video, ClipShape(3, 1, 16), num_clips=1, num_crops=10).shape[0] == 10


def test_one_test_clip_is_the_middle_of_each_segment(make_shards) -> None:
    reader = numbered(make_shards)
    views = video_views(reader, reader.videos[0], SHAPE, num_clips=1, num_crops=1)
    assert views.shape == (1, 3, 1, 3, 8, 8)
    assert frame_numbers(views[0]) == [[2], [6], [10]]


def test_papers_protocol_has_250_views(make_shards) -> None:
    reader = numbered(make_shards)
    views = video_views(reader, reader.videos[0], ClipShape(3, 1, 4), num_clips=25, num_crops=10)
    assert views.shape == (250, 3, 1, 3, 4, 4)
    assert len({str(frame_numbers(view)) for view in views[::10]}) > 5


def test_test_views_depend_on_seed_and_video_name_alone(coloured: ShardReader) -> None:
    options = {"num_clips": 4, "num_crops": 1}
    first, second = split_videos(coloured, "test")[:2]
    views = video_views(coloured, first, SHAPE, seed=1, **options)
    video_views(coloured, second, SHAPE, seed=1, **options)
    assert torch.equal(views, video_views(coloured, first, SHAPE, seed=1, **options))
    assert not torch.equal(views, video_views(coloured, first, SHAPE, seed=2, **options))


def test_wrong_arguments_are_named(coloured: ShardReader) -> None:
    with pytest.raises(
        InputError, match=r"no video of the split 'val' .*stored: 4 in 'test', 8 in 'train'\); name one"
    ):
        split_videos(coloured, "val")
    with pytest.raises(ValueError, match="num_crops is 4; it must be 1, 3 or 10"):
        video_views(coloured, coloured.videos[0], SHAPE, num_clips=1, num_crops=4)


@pytest.mark.parametrize(("num_clips", "most"), [(1, 2), (5, 10)])
def test_a_test_view_decodes_the_rows_of_its_clips_alone(make_shards, monkeypatch, num_clips, most) -> None:
    reader = numbered(make_shards, num_frames=200)
    counts, shape = counting(monkeypatch), replace(SHAPE, num_segments=2, snippet_length=1)
    expected = video_views(reader, reader.videos[0], shape, num_clips=num_clips, num_crops=1)
    assert sum(counts) <= most
    monkeypatch.setattr("tdn_data.models.clips.views.CACHE_BYTES", 0)  # as where rows have no room
    assert torch.equal(video_views(reader, reader.videos[0], shape, num_clips=num_clips, num_crops=1), expected)


def test_a_training_clip_decodes_its_own_rows_and_keeps_them(make_shards, monkeypatch) -> None:
    reader, counts = numbered(make_shards, num_frames=200), counting(monkeypatch)
    dataset = dataset_of(reader)
    first = dataset[0, 0][0]
    assert counts == [3]
    assert torch.equal(dataset[0, 0][0], first) and counts == [3]
    assert not torch.equal(dataset[1, 0][0], first) and sum(counts) <= 6


def test_levels_are_the_same_clips_before_normalisation(coloured: ShardReader) -> None:
    augment = Augment(16, "corner", mirror=True, color_jitter=0.3)
    shape = ClipShape(2, 2, 16)
    normalized, levels = (
        ClipDataset(coloured, split="train", shape=shape, augment=augment, normalized=choice)
        for choice in (True, False)
    )
    batches = [[(0, 1), (0, 5)], [(1, 2), (1, 0)]]
    for (clips, targets), (stored, same) in zip(
        DataLoader(normalized, batch_sampler=batches), DataLoader(levels, batch_sampler=batches), strict=True
    ):
        assert stored.dtype == torch.uint8 and stored.shape == (2, 2, 2, 16, 16, 3)
        assert torch.equal(normalize_batch(stored), clips) and torch.equal(targets, same)


@pytest.mark.parametrize("normalized", [True, False])
def test_neither_order_nor_augmentation_depends_on_the_number_of_loader_processes(coloured, normalized) -> None:
    augment = Augment(16, "corner", mirror=True, color_jitter=0.3)
    options = {"split": "train", "shape": ClipShape(2, 2, 16), "augment": augment, "normalized": normalized}
    batches = [[(epoch, index) for index in part] for epoch in range(2) for part in ((3, 1, 6), (7, 0), (2, 5, 4))]
    dataset = ClipDataset(coloured, **options)
    epochs = [list(DataLoader(dataset, batch_sampler=batches, num_workers=count)) for count in (0, 1, 2)]
    for other in epochs[1:]:
        assert len(other) == len(epochs[0]) == 6
        for (clips, targets), (same_clips, same_targets) in zip(epochs[0], other, strict=True):
            assert torch.equal(clips, same_clips) and torch.equal(targets, same_targets)
