"""Clips with flow: which fields, that they are the flow of what is seen, and which videos are refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tdn_data.models.backbones.base import IMAGENET_MEAN, IMAGENET_STD
from tdn_data.models.clips.augment import Augment
from tdn_data.models.clips.with_flow import FlowClipDataset, FlowPairDataset, known_fields
from tdn_data.models.networks.base import ClipShape
from tdn_data.pipeline.datasets.registry import read_dataset
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.flow import optical_flow, quantize, write_flo
from tdn_data.pipeline.shards.reader import ShardReader

BOUND = 8.0
LEVEL = 2 * BOUND / 255  # pixels from one stored level to the next


def numbered(make_shards, *, num_frames: int = 12, num_fields: int | None = None) -> tuple[ShardReader, ShardReader]:
    """Return readers of one video whose frame n has the value 20 n and whose field n moves by n / 2 to the right."""
    count = num_frames - 1 if num_fields is None else num_fields
    frames = np.broadcast_to(20 * np.arange(num_frames, dtype=np.uint8)[:, None, None, None], (num_frames, 8, 8, 3))
    flow = np.zeros((count, 8, 8, 2), np.float32)
    flow[..., 0] = np.arange(count)[:, None, None] / 2
    videos = [("a", "train", (0,), np.ascontiguousarray(frames))], [("a", "train", (0,), quantize(flow, BOUND))]
    return tuple(make_shards(one, class_names="xy", bound=BOUND) for one in videos)


def dataset_of(readers, *, length: int = 4, num_fields: int = 4, augment: Augment | None = None, **options):
    """Return the training clips of one snippet of `length` frames with `num_fields` fields."""
    augment = augment or Augment(8, "center")
    shape = ClipShape(1, length, augment.size)
    return FlowClipDataset(*readers, num_fields=num_fields, split="train", shape=shape, augment=augment, **options)


def frame_numbers(clip: torch.Tensor) -> list[int]:
    """Return the number of each frame of a clip (1, K, C, H, W) from `numbered`."""
    level = clip[0, :, 0, 0, 0] * IMAGENET_STD[0] + IMAGENET_MEAN[0]
    return (level * 255 / 20).round().int().tolist()


def field_numbers(flow: torch.Tensor) -> list[float]:
    """Return the number of each field of a flow (1, F, 2, H, W) from `numbered`."""
    return (flow[0, :, 0, 0, 0] * 2).round().tolist()


def test_each_frame_has_its_field_and_the_last_leads_into_the_future(make_shards) -> None:
    dataset, starts = dataset_of(numbered(make_shards)), set()
    for epoch in range(40):
        clip, target, flow = dataset[epoch, 0]
        assert flow.shape == (1, 4, 2, 8, 8) and flow.dtype == torch.float32 and target.item() == 0
        assert field_numbers(flow) == frame_numbers(clip)
        assert flow[:, :, 1].abs().max() <= LEVEL
        starts.add(frame_numbers(clip)[0])
    assert starts == set(range(8))  # 12 frames: the last start that has four fields is 7


def test_two_frames_have_the_field_between_them(make_shards) -> None:
    dataset, starts = dataset_of(numbered(make_shards), length=2, num_fields=1), set()
    for epoch in range(60):
        clip, _, flow = dataset[epoch, 0]
        assert flow.shape == (1, 1, 2, 8, 8) and field_numbers(flow) == frame_numbers(clip)[:1]
        starts.add(frame_numbers(clip)[0])
    assert starts == set(range(11))


def test_fields_behind_the_end_of_a_short_video_are_unknown(make_shards) -> None:
    clip, _, flow = dataset_of(numbered(make_shards, num_frames=3), length=5, num_fields=5)[0, 0]
    assert frame_numbers(clip) == [0, 1, 2, 2, 2]
    assert field_numbers(flow[:, :2]) == [0, 1]
    assert flow[:, 2:].isnan().all() and not flow[:, :2].isnan().any()


def test_a_video_of_as_many_frames_as_the_snippet_lacks_the_last_field_only(make_shards) -> None:
    clip, _, flow = dataset_of(numbered(make_shards, num_frames=4))[0, 0]
    assert frame_numbers(clip) == [0, 1, 2, 3]
    assert flow[:, 3].isnan().all() and field_numbers(flow[:, :3]) == [0, 1, 2]


def test_fields_between_a_repeated_videos_end_and_its_start_are_unknown(make_shards) -> None:
    dataset, crossings = dataset_of(numbered(make_shards, num_frames=5), repeat_to=12), 0
    for epoch in range(40):
        clip, _, flow = dataset[epoch, 0]
        for number, field in zip(frame_numbers(clip), field_numbers(flow), strict=True):
            assert np.isnan(field) if number == 4 else field == number
            crossings += number == 4
    assert crossings > 10


def test_fields_are_known_where_the_next_frame_is_the_videos_next() -> None:
    rows = np.array([[1, 2, 3], [2, 3, 3], [2, 3, 0]])
    assert known_fields(rows, 5).tolist() == [[True, True, True], [True, False, True], [True, False, True]]
    assert known_fields(rows[:1], 4).tolist() == [[True, True, False]]


def test_cache_changes_no_flow(make_shards) -> None:
    readers = numbered(make_shards)
    cached, uncached = dataset_of(readers), dataset_of(readers, cache_bytes=0)
    for epoch in range(4):
        assert torch.equal(cached[epoch, 0][2], uncached[epoch, 0][2])


def moving(make_shards, *, flow_size: tuple[int, int] | None = None) -> tuple[ShardReader, ShardReader]:
    """Return readers of a smooth texture, 64 x 80, that moves 1.5 pixels right and 1 up a frame, and its TV-L1 flow."""
    noise = np.random.default_rng(0).integers(0, 256, (120, 140, 3), dtype=np.uint8)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2.5), None, 0, 255, cv2.NORM_MINMAX)
    frames = np.stack(
        [cv2.warpAffine(texture, np.float32([[1, 0, -30 + 1.5 * t], [0, 1, -10 - t]]), (80, 64)) for t in range(6)]
    )
    height, width = flow_size or (64, 80)
    small = [cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in frames]
    grey = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in small])
    flow = quantize(optical_flow(grey[:-1], grey[1:], device="cpu"), BOUND)
    videos = [("a", "train", (0,), frames)], [("a", "train", (0,), flow)]
    return tuple(make_shards(one, class_names="xy", bound=BOUND) for one in videos)


def flow_of_clip(clip: torch.Tensor) -> torch.Tensor:
    """Return the TV-L1 flow between the frames of a clip (1, K, C, H, W) as the network sees it, (K - 1, 2, H, W)."""
    pixels = clip[0].permute(0, 2, 3, 1) * torch.tensor(IMAGENET_STD) + torch.tensor(IMAGENET_MEAN)
    frames = (pixels * 255).round().clamp(0, 255).byte().numpy()
    grey = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])
    return torch.from_numpy(optical_flow(grey[:-1], grey[1:], device="cpu")).permute(0, 3, 1, 2)


@pytest.mark.parametrize("flow_size", [None, (32, 40), (96, 120)])
@pytest.mark.parametrize("crop", ["random", "corner"])
def test_flow_is_that_of_the_frames_that_are_seen(make_shards, crop: str, flow_size) -> None:
    """Cropped, enlarged and mirrored: computed again from the clip's own frames, away from the border."""
    augment, seen = Augment(56, crop, mirror=True), []
    dataset = dataset_of(moving(make_shards, flow_size=flow_size), length=3, num_fields=2, augment=augment)
    for epoch in range(6):
        clip, _, flow = dataset[epoch, 0]
        error = (flow[0] - flow_of_clip(clip))[:, :, 8:-8, 8:-8].norm(dim=1)
        assert error.mean() < 0.2, f"epoch {epoch}: {error.mean()} pixels apart"
        seen.append(flow[0, :, :, 8:-8, 8:-8].mean((0, 2, 3)))
    signs = {int(u.sign()) for u, _ in seen}
    assert signs == {-1, 1}  # some were mirrored
    assert all(v < -0.7 for _, v in seen)


def test_mirrored_flow_is_the_flow_of_mirrored_frames(make_shards) -> None:
    readers = moving(make_shards)
    dataset = dataset_of(readers, length=3, num_fields=2, augment=Augment(64, "center", mirror=True))
    drawn = {}
    for epoch in range(20):
        clip, _, flow = dataset[epoch, 0]
        drawn[bool(flow[0, 0, 0].mean() < 0)] = clip, flow
    clip, flow = drawn[True]
    frames = readers[0].read("a").data
    assert drawn.keys() == {True, False}
    assert (flow[0, :, 0].mean() - -1.5).abs() < 0.1 and (flow[0, :, 1].mean() - -1).abs() < 0.1
    start = next(n for n in range(4) if np.array_equal(to_pixels(clip)[0], frames[n, :, 8:72][:, ::-1]))
    grey = np.stack([cv2.cvtColor(frame[:, ::-1].copy(), cv2.COLOR_RGB2GRAY) for frame in frames[start : start + 3]])
    truth = torch.from_numpy(optical_flow(grey[:-1], grey[1:], device="cpu")[:, :, 8:72]).permute(0, 3, 1, 2)
    assert (flow[0] - truth).norm(dim=1)[:, 4:-4, 4:-4].mean() < 0.1


def to_pixels(clip: torch.Tensor) -> np.ndarray:
    """Return a clip (1, K, C, H, W) as uint8 frames (K, H, W, C)."""
    pixels = clip[0].permute(0, 2, 3, 1) * torch.tensor(IMAGENET_STD) + torch.tensor(IMAGENET_MEAN)
    return (pixels * 255).round().clamp(0, 255).byte().numpy()


@pytest.mark.parametrize(
    ("of_frames", "of_flow", "words"),
    [
        ({"fps": 5.0}, {"fps": None}, "frames were stored with fps 5 and flow with fps null"),
        ({"every_seconds": 3.0}, {"fps": 15.0}, "frames were stored with fps null and flow with fps 15"),
        ({"max_seconds": 300.0}, {}, "frames were stored with max_seconds 300 and flow with max_seconds null"),
    ],
)
def test_other_rates_are_refused(make_shards, of_frames, of_flow, words: str) -> None:
    frames = make_shards(
        [("a", "train", (0,), np.zeros((5, 8, 8, 3), np.uint8))], class_names="x", parameters=of_frames
    )
    flow = make_shards([("a", "train", (0,), np.zeros((4, 8, 8, 2), np.uint8))], class_names="x", parameters=of_flow)
    with pytest.raises(InputError, match=f"{words}.*extract both with the same"):
        dataset_of((frames, flow))


def test_flow_of_other_times_is_refused_when_it_is_read(make_shards) -> None:
    frames = make_shards([("a", "train", (0,), np.zeros((5, 8, 8, 3), np.uint8))], class_names="x")
    stored = [("a", "train", (0,), np.zeros((4, 8, 8, 2), np.uint8))]
    flow = make_shards(stored, class_names="x", frames_per_second=20)
    with pytest.raises(InputError, match=r"a: a flow field starts at 0\.050 s and its frame is shown at 0\.100 s"):
        dataset_of((frames, flow))[0, 0]


def test_videos_without_their_flow_are_left_out_by_name(make_shards, caplog) -> None:
    frames, flow = np.zeros((5, 8, 8, 3), np.uint8), np.zeros((4, 8, 8, 2), np.uint8)
    stored = {"whole": flow, "failed": None, "cut": flow[:2], "long": np.concatenate([flow, flow])}
    readers = (
        make_shards([(name, "train", (0,), frames) for name in (*stored, "absent")], class_names="x"),
        make_shards([(name, "train", (0,), data) for name, data in stored.items()], class_names="x"),
    )
    dataset = dataset_of(readers)
    assert [video.video_id for video in dataset.videos] == ["whole"] and len(dataset) == 1
    (record,) = caplog.records
    words = record.getMessage()
    assert record.levelname == "WARNING" and words.startswith("4 of 5 videos lack flow fields: ")
    for named in ("absent (0 for 5 frames)", "cut (2 for 5 frames)", "failed (0 for", "long (8 for"):
        assert named in words
    assert "They are left out" in words


def test_no_video_with_flow_stops_the_training(make_shards) -> None:
    with pytest.raises(InputError, match=r"1 of 1 videos lack flow fields: a \(2 for 12 frames\).*Extract the flow"):
        dataset_of(numbered(make_shards, num_fields=2))


@pytest.fixture
def chairs(tmp_path: Path) -> Path:
    """Two pairs of 24 x 32 pixels for training and one for validation, in Flying Chairs' layout."""
    data = tmp_path / "chairs/data"
    data.mkdir(parents=True)
    columns = np.broadcast_to(np.arange(32, dtype=np.uint8)[None, :, None] * 8, (24, 32, 3))
    for number in (1, 2, 3):
        for image in (1, 2):
            cv2.imwrite(str(data / f"{number:05d}_img{image}.ppm"), columns)
        flow = np.full((24, 32, 2), number, np.float32)
        flow[:, :4] = 1e10
        write_flo(data / f"{number:05d}_flow.flo", flow)
    (tmp_path / "chairs/FlyingChairs_train_val.txt").write_text("1\n1\n2\n")
    return tmp_path / "chairs"


def test_pairs_are_clips_of_two_frames(chairs: Path) -> None:
    pairs = read_dataset("flying-chairs", chairs)
    dataset = FlowPairDataset(pairs, augment=Augment(16, "random", mirror=True), seed=3)
    assert len(dataset) == 2
    signs = set()
    for epoch in range(20):
        clip, flow = dataset[epoch, 1]
        assert clip.shape == (1, 2, 3, 16, 16) and flow.shape == (1, 1, 2, 16, 16)
        known = ~flow[0, 0, 0].isnan()
        dark = to_pixels(clip)[0, :, :, 0] < 4 * 8  # the four unknown columns are the darkest
        assert torch.equal(known, torch.from_numpy(~dark))
        assert (flow[0, 0, 1][known] == 2).all()
        signs |= set(flow[0, 0, 0][known].tolist())
    assert signs == {-2.0, 2.0}
    assert torch.equal(dataset[5, 0][0], FlowPairDataset(pairs, augment=Augment(16, "random", True), seed=3)[5, 0][0])


def test_pairs_that_are_not_there_are_named(chairs: Path) -> None:
    (chairs / "data/00002_img1.ppm").unlink()
    pairs = read_dataset("flying-chairs", chairs)
    with pytest.raises(InputError, match="1 files are missing, e.g. data/00002_img1.ppm"):
        FlowPairDataset(pairs, augment=Augment(16))
    assert len(FlowPairDataset(pairs, split="val", augment=Augment(16))) == 1
    with pytest.raises(InputError, match="no pair is for test"):
        FlowPairDataset(pairs, split="test", augment=Augment(16))
