"""A video's rows between two processes: whole ones come through, and nothing else does."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tdn_data.pipeline.errors import VideoError
from tdn_data.pipeline.extraction.rows.job import Extraction, VideoJob
from tdn_data.pipeline.extraction.wire import pack, unpack
from tdn_data.pipeline.images import encode_image, encoded_size
from tdn_data.pipeline.parameters import FlowParameters, FrameParameters
from tdn_data.pipeline.shards.schema import VideoRows

SIZE = {"height": 24, "width": 32}


def frames(codec="jpeg", *, count=3, size=(24, 32), channels=3):
    shape = (*size, 3) if channels == 3 else size
    images = np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)
    payloads = {"image": [encode_image(image, codec=codec) for image in images]}
    rows = VideoRows("rgb", np.arange(count) * 5, np.arange(count) / 5, *size, payloads)
    return Extraction(rows, count + 1, VideoError("truncated", "3 of 4 frames, the file is cut off"), "full", "a note")


def flow(*, count=3):
    planes = [np.random.default_rng(seed).integers(0, 256, (count, 24, 32), np.uint8) for seed in (1, 2)]
    names = ("flow_x", "flow_y")
    payloads = {
        name: [encode_image(one, codec="png") for one in plane] for name, plane in zip(names, planes, strict=True)
    }
    times, means = np.arange(count) / 5, np.linspace(0, 1.5, count)
    statistics = {"clipped_share": means / 3, "mean_magnitude": means}
    rows = VideoRows("flow", np.arange(count), times, 24, 32, payloads, times + 0.2, 20.0, statistics)
    return Extraction(rows, count, None, "sparse", None)


def job(codec="jpeg", modality="rgb"):
    section = (FrameParameters if modality == "rgb" else FlowParameters)(codec=codec, **SIZE)
    return VideoJob("/videos/a.mp4", modality, section, 1 << 20)


def through(extraction, job):
    return unpack(memoryview(b"".join(pack(extraction))), job)


@pytest.mark.parametrize("codec", ["jpeg", "png", "raw"])
def test_frames_come_through_whole(codec):
    sent = frames(codec)
    got = through(sent, job(codec))
    np.testing.assert_array_equal(got.rows.frame_index, sent.rows.frame_index)
    np.testing.assert_array_equal(got.rows.pts_seconds, sent.rows.pts_seconds)
    assert got.rows.payloads == sent.rows.payloads
    assert (got.rows.height, got.rows.width, got.rows.modality) == (24, 32, "rgb")
    assert (got.problem.reason, got.problem.message) == (sent.problem.reason, sent.problem.message)
    assert (got.num_expected, got.decoding, got.note) == (4, "full", "a note")


def test_flow_comes_through_whole():
    sent = flow()
    got = through(sent, job("png", "flow"))
    assert got.rows.payloads == sent.rows.payloads
    assert got.rows.mean_statistics() == sent.rows.mean_statistics() == {"clipped_share": 0.25, "mean_magnitude": 0.75}
    np.testing.assert_array_equal(got.rows.next_pts_seconds, sent.rows.next_pts_seconds)
    assert got.rows.bound == 20.0 and got.problem is None


def test_no_rows_at_all_come_through():
    rows = VideoRows("rgb", np.zeros(0, np.int64), np.zeros(0), 0, 0, {"image": []})
    assert len(through(Extraction(rows, 2), job()).rows) == 0


def test_an_answer_cut_anywhere_or_with_more_behind_it_is_refused():
    content = b"".join(pack(frames()))
    for length in (0, 5, 8, 20, len(content) // 2, len(content) - 1):
        with pytest.raises(ValueError):
            unpack(memoryview(content[:length]), job())
    with pytest.raises(ValueError, match="behind"):
        unpack(memoryview(content + b"x"), job())


def test_random_damage_is_refused_or_harmless():
    content, generator = b"".join(pack(flow())), np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(content)
        damaged[generator.integers(0, 700)] ^= 1 << generator.integers(0, 8)
        try:
            got = unpack(memoryview(damaged), job("png", "flow"))
        except ValueError:
            continue
        assert len(got.rows) == 3 and got.rows.height == 24


def changed_header(**changes):
    length, header, *rest = pack(frames())
    header = json.dumps(json.loads(header) | changes).encode()
    return memoryview(b"".join([len(header).to_bytes(8, "little"), header, *rest]))


@pytest.mark.parametrize(
    "changes",
    [
        {"num_rows": 2},
        {"num_rows": -1},
        {"num_rows": 10**12},
        {"num_rows": True},
        {"num_rows": "3"},
        {"height": 48},
        {"height": 0},
        {"width": 1.5},
        {"num_expected": 2},
        {"problem": ["exploded", "x"]},
        {"problem": ["corrupt", "a\x00b"]},
        {"note": "x" * 5000},
        {"note": ["x"]},
        {"decoding": "partly"},
        {"more": 1},
    ],
    ids=str,
)
def test_a_header_that_cannot_be_is_refused(changes):
    with pytest.raises(ValueError):
        unpack(changed_header(**changes), job())


def test_times_that_cannot_be_are_refused():
    for name, values in (
        ("pts_seconds", [0, float("nan"), 1]),
        ("pts_seconds", [0, float("inf"), 1]),
        ("pts_seconds", [0, 2, 1]),
        ("pts_seconds", [-1, 0, 1]),
        ("frame_index", [0, 2, 1]),
        ("frame_index", [-5, 0, 1]),
    ):
        sent = frames()
        dtype = np.int64 if name == "frame_index" else np.float64
        rows = replace(sent.rows, **{name: np.array(values, dtype)})
        with pytest.raises(ValueError):
            through(replace(sent, rows=rows), job())
    backwards = replace(flow().rows, next_pts_seconds=np.zeros(3))
    with pytest.raises(ValueError):
        through(replace(flow(), rows=backwards), job("png", "flow"))


@pytest.mark.parametrize("codec", ["jpeg", "png", "raw"])
def test_images_of_another_kind_than_announced_are_refused(codec):
    good = frames(codec)
    others = [frames(other).rows.payloads["image"] for other in ("jpeg", "png", "raw") if other != codec]
    others += [frames(codec, size=(32, 24)).rows.payloads["image"] if codec != "raw" else [b"x"] * 3]
    others += [frames(codec, channels=1).rows.payloads["image"], [b""] * 3, [b"\xff\xd8" + b"\xff" * 40] * 3]
    for images in others:
        with pytest.raises(ValueError, match="image"):
            through(replace(good, rows=replace(good.rows, payloads={"image": images})), job(codec))


def test_images_of_another_size_than_asked_for_are_refused():
    with pytest.raises(ValueError, match="images of 32 x 24"):
        through(frames(size=(32, 24)), job())


@pytest.mark.parametrize("codec", ["jpeg", "png"])
@pytest.mark.parametrize("shape", [(24, 32), (24, 32, 3), (1, 300, 3)])
def test_the_head_of_an_image_says_its_size(codec, shape):
    data = encode_image(np.zeros(shape, np.uint8), codec=codec)
    assert encoded_size(data, codec=codec) == (*shape[:2], 3 if len(shape) == 3 else 1)
    assert encoded_size(data[:12], codec=codec) is None
