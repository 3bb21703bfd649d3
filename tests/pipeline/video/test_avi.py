"""Holes in AVI files: chunks that the index lists and that are not there, and pictures overwritten with zeros."""

from __future__ import annotations

import av
import numpy as np
import pytest

from tdn_data.pipeline.video import sample_frames
from tdn_data.pipeline.video.mjpeg import mjpeg_facts
from tests.pipeline.video.exact.files import CONTAINERS, TIMINGS, stamp, write
from tests.pipeline.video.exact.pictures import read_number
from tests.pipeline.video.exact.streams import encoded

CODECS = {"mjpeg": "yuvj420p", "mpeg4": "yuv420p", "ffv1": "yuv420p"}


def chunk(content: bytes, number: int) -> tuple[int, int]:
    """Where the head of a picture's chunk begins and its bytes end."""
    begin = content.index(b"movi")
    for _ in range(number + 1):
        begin = content.index(b"00dc", begin + 1)
    return begin, begin + 8 + int.from_bytes(content[begin + 4 : begin + 8], "little")


def overwrite(path, *, first_byte: int, number: int = 10) -> None:
    """Write zeros over a picture's chunk, from its byte `first_byte` on."""
    content = bytearray(path.read_bytes())
    begin, end = chunk(content, number)
    content[begin + first_byte : end] = bytes(end - begin - first_byte)
    path.write_bytes(content)


@pytest.mark.parametrize("first_byte", [0, 8, 700], ids=["with its head", "the whole picture", "its second half"])
def test_a_hole_in_an_mjpeg_avi_is_missed_and_what_follows_keeps_its_time(make_clip, first_byte):
    path = make_clip("a.avi", codec="mjpeg", pixel_format="yuvj420p", fps=10, num_frames=30)
    whole = sample_frames(path)
    overwrite(path, first_byte=first_byte)
    batch = sample_frames(path)
    kept = [number for number in range(30) if number != 10]
    assert batch.problem.reason == "corrupt" and "29 of 30 frames" in batch.problem.message
    np.testing.assert_allclose(batch.pts_seconds, whole.pts_seconds[kept], atol=1e-9)
    np.testing.assert_array_equal(batch.data, whole.data[kept])
    at_times = sample_frames(path, timestamps=[0.9, 1.0, 1.1, 2.9])
    assert "3 of 4 frames" in at_times.problem.message
    np.testing.assert_array_equal(at_times.data, whole.data[[9, 11, 29]])


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("num_holes", [1, 3])
def test_chunks_that_only_the_index_knows_are_counted_in_every_codec(make_clip, codec, num_holes):
    path = make_clip("a.avi", codec=codec, pixel_format=CODECS[codec], fps=10, num_frames=30)
    assert sample_frames(path).problem is None
    holes = [10 + 4 * number for number in range(num_holes)]
    for number in reversed(holes):  # a chunk without its head is not counted any more
        overwrite(path, first_byte=0, number=number)
    problem = sample_frames(path).problem
    assert problem is not None and "of 30 frames" in problem.message


def test_a_picture_that_means_as_before_is_no_hole(make_clip):
    path = make_clip("a.avi", codec="mjpeg", pixel_format="yuvj420p", fps=10, num_frames=30)
    content = bytearray(path.read_bytes())
    begin, _ = chunk(content, 29)
    entry = content.rindex(b"00dc")  # of the index, whose entries are kind, flags, place, size
    assert entry > begin
    content[entry + 12 : entry + 16] = bytes(4)
    content[begin + 4 : begin + 8] = bytes(4)
    path.write_bytes(content)
    assert sample_frames(path, every_seconds=0.5).problem is None


def test_a_picture_that_is_not_there_moves_no_other_in_time(tmp_path):
    stream, timing, path = encoded("h264-intra"), TIMINGS["cfr"], tmp_path / "a.avi"
    packets = [entry for number, entry in enumerate(stamp(stream, timing)) if number != 28]  # an empty chunk is written
    write(path, stream, CONTAINERS["avi"], timing, packets)
    batch = sample_frames(path)
    shown = [read_number(image) for image in batch.data]
    np.testing.assert_allclose(batch.pts_seconds, np.array(shown) / 25, atol=1e-9)


def test_zeros_in_a_jpegs_tables_and_behind_its_end_are_no_hole():
    head = b"\xff\xd8\xff\xfe\x00\x82" + bytes(128) + b"\xff\xda\x00\x02"
    assert mjpeg_facts(memoryview(head + b"\x12" * 300 + b"\xff\xd9" + bytes(500))).start
    assert mjpeg_facts(memoryview(head + b"\x12" * 300)).start
    assert mjpeg_facts(memoryview(head + b"\x12" * 30 + bytes(64) + b"\x12\xff\xd9")).broken
    assert mjpeg_facts(memoryview(head + b"\x12" * 30 + bytes(64))).broken
    assert mjpeg_facts(memoryview(head + b"\x12" * 30 + b"\xff\x33" + b"\x12" * 9 + b"\xff\xd9")).broken
    two_fields = (b"\xff\xd8\xff\xc0\x00\x02\xff\xda\x00\x02\x12\xff\x00\xff\xd3" + b"\x12" * 30 + b"\xff\xd9") * 2
    assert mjpeg_facts(memoryview(two_fields)).start
    assert mjpeg_facts(memoryview(bytes(64))).broken
    assert mjpeg_facts(memoryview(b"")).start


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_zeros_of_a_flat_picture_with_its_own_huffman_tables_are_no_hole(tmp_path, grey):
    with av.open(tmp_path / "a.avi", "w") as container:
        stream = container.add_stream("mjpeg", rate=10, options={"huffman": "optimal"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuvj420p"
        stream.codec_context.thread_count = 1  # with several threads the tables are the standard's
        frame = av.VideoFrame.from_ndarray(np.full((720, 1280, 3), grey, np.uint8))
        container.mux([*stream.encode(frame), *stream.encode(None)])
    with av.open(tmp_path / "a.avi") as container:
        packet = bytes(next(container.demux(video=0)))
    assert packet.count(bytes(64)) > 0
    assert not mjpeg_facts(memoryview(packet)).broken
