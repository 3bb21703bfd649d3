"""Files of pieces with bytes missing, pushed in, overwritten or twice: no wrong picture comes, the loss is reported."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tdn_data.pipeline.video import sample_frames
from tdn_data.pipeline.video.container import open_video
from tdn_data.pipeline.video.pieces import follow
from tests.pipeline.video.exact.files import CONTAINERS, TIMINGS, stamp, write
from tests.pipeline.video.exact.pictures import read_number
from tests.pipeline.video.exact.streams import encoded

pytestmark = pytest.mark.usefixtures("quiet_decoders")
KINDS = [
    *(("flv", name, "vfr") for name in ("h264-b2-gop12", "hevc-b0-gop12", "vp9-gop20")),
    *(("ivf", name, "vfr") for name in ("vp8-gop20", "vp9-gop20", "av1-gop16")),
    *(("avi", name, "audio") for name in ("h264-b0-gop12", "mpeg4-b0-gop12", "mjpeg")),
]

OTHERS = [
    *(("nut", name, "audio") for name in ("h264-b2-gop12", "hevc-b0-gop12", "mpeg4-b2-gop12", "vp9-gop20")),
    *(("mkv", name, "audio") for name in ("h264-b2-gop12", "vp9-gop20", "av1-gop16")),
]


def written(folder, container, name, timing):
    path, stream = folder / f"a.{container}", encoded(name)
    write(path, stream, CONTAINERS[container], TIMINGS[timing], stamp(stream, TIMINGS[timing]))
    return path, stream


@pytest.mark.parametrize(("container", "name", "timing"), KINDS)
def test_a_whole_file_is_all_pieces(tmp_path, container, name, timing):
    path, _ = written(tmp_path, container, name, timing)
    with open_video(path, max_pixels=1 << 20) as (opened, stream):
        pieces = follow(path, opened)
        assert pieces.tears == ()
        assert {packet.pos for packet in opened.demux(stream) if packet.size} <= pieces.sound
    batch = sample_frames(path)
    assert (len(batch), batch.problem, batch.note) == (40, None, None)


@pytest.mark.parametrize(("container", "name", "timing"), OTHERS)
def test_a_whole_file_is_believed(tmp_path, container, name, timing):
    batch = sample_frames(written(tmp_path, container, name, timing)[0])
    assert (len(batch), batch.problem, batch.note) == (40, None, None)


@pytest.mark.parametrize("seed", range(3))
def test_one_wrong_bit_in_a_cluster_with_a_check_sum_is_reported(tmp_path, seed):
    path, _ = written(tmp_path, "mkv", "vp9-gop20", "cfr")
    data, generator = bytearray(path.read_bytes()), random.Random(seed)
    data[generator.randrange(len(data) // 2, len(data) * 9 // 10)] ^= 1 << generator.randrange(8)
    path.write_bytes(data)
    assert sample_frames(path).problem.reason == "corrupt"


@pytest.mark.parametrize(("container", "name", "timing"), KINDS + OTHERS)
@pytest.mark.parametrize("kind", ["deleted", "pushed in", "twice", "random to the end"])
def test_a_tear_spoils_no_picture_that_comes_and_is_reported(tmp_path, container, name, timing, kind):
    path, stream = written(tmp_path, container, name, timing)
    data, generator = path.read_bytes(), random.Random(kind)
    for share in (0.45, 0.7):
        begin = int(len(data) * share)
        end = begin + 900
        stray = generator.randbytes(900)
        content = {
            "deleted": data[:begin] + data[end:],
            "pushed in": data[:begin] + stray + data[begin:],
            "twice": data[:end] + data[begin:end] + data[end:],
            "random to the end": data[:begin] + generator.randbytes(len(data) - begin),
        }
        path.write_bytes(content[kind])
        batch = sample_frames(path)
        assert batch.problem is not None or batch.note is not None
        for image in batch.data:
            np.testing.assert_array_equal(image, stream.reference[read_number(image)])


@pytest.mark.parametrize("picture", [0, 12, 17])  # the first two are key pictures
@pytest.mark.parametrize("timing", ["cfr", "vfr"])
def test_a_tag_that_comes_twice_at_once_gives_one_picture(tmp_path, picture, timing):
    path, _ = written(tmp_path, "flv", "h264-b0-gop12", timing)
    whole, data = sample_frames(path), path.read_bytes()
    with open_video(path, max_pixels=1 << 20) as (opened, stream):
        begin = [packet.pos for packet in opened.demux(stream) if packet.size][picture]
    end = begin + 11 + int.from_bytes(data[begin + 1 : begin + 4], "big") + 4
    path.write_bytes(data[:end] + data[begin:end] + data[end:])
    batch = sample_frames(path)
    np.testing.assert_array_equal(batch.data, whole.data)
    np.testing.assert_array_equal(batch.pts_seconds, whole.pts_seconds)
