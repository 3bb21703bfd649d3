"""Files that do not open, do not decode, or stop half-way: the right reason, and the good frames kept."""

from __future__ import annotations

import itertools
import shutil

import av
import numpy as np
import pytest

from tdn_data.pipeline.errors import VideoError
from tdn_data.pipeline.video import iter_frames, probe, sample_frames

FASTSTART = {"movflags": "faststart"}  # the index first, so that a cut file still opens


def reason_of(function, *arguments, **options) -> str:
    """The reason of the VideoError that the call raises."""
    with pytest.raises(VideoError) as caught:
        function(*arguments, **options)
    assert caught.value.path == str(arguments[0])
    return caught.value.reason


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("zero_bytes.mp4", "unreadable"),
        ("fixture.ogv", "unreadable"),
        ("amr_nb_1f.3gp", "no_video_stream"),
        ("sine-3s-xhe-aac-44khz-mono.mp4", "no_video_stream"),
        ("truncated.mp4", "truncated"),
        ("fixture-isom.mp4", "truncated"),
        ("fixture-moov.mov", "truncated"),
        ("invalid_userdata.mp4", "truncated"),  # 5,544 pictures announced, none there
        ("short-cenc.mp4", "corrupt"),  # encrypted
        ("not there.mp4", "missing"),
    ],
)
def test_broken_files_say_why(shared_data, name, reason):
    path = shared_data / "broken" / name
    assert reason_of(sample_frames, path, every_seconds=1) == reason
    assert reason_of(probe, path) == reason


def cut(path, fraction: float, *, to: str):
    """A copy of the file's first part."""
    shortened = path.with_name(to)
    shortened.write_bytes(path.read_bytes()[: int(path.stat().st_size * fraction)])
    return shortened


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.flv"])
def test_a_cut_file_keeps_its_good_frames_and_counts_the_missing(make_clip, name):
    options = {"container_options": FASTSTART if name == "a.mp4" else {}, "options": {"g": "10"}}
    codec = {"a.avi": "mpeg4", "a.flv": "flv"}.get(name, "libx264")
    path = make_clip(name, codec=codec, num_frames=100, fps=25, **options)
    whole = sample_frames(path, fps=5)
    batch = sample_frames(cut(path, 0.6, to=f"cut {name}"), fps=5)
    assert whole.problem is None
    assert len(whole) == batch.num_expected == 20
    assert 5 <= len(batch) < 20
    assert batch.problem.reason == "truncated"
    assert f"{len(batch)} of 20 frames" in batch.problem.message
    np.testing.assert_array_equal(batch.data, whole.data[: len(batch)])
    np.testing.assert_array_equal(batch.pts_seconds, whole.pts_seconds[: len(batch)])


def test_iter_frames_gives_the_good_frames_before_it_raises(make_clip):
    path = cut(make_clip("a.mp4", num_frames=50, container_options=FASTSTART), 0.6, to="cut.mp4")
    frames = iter_frames(path)
    good = []
    with pytest.raises(VideoError, match=f"{path}: [0-9]+ of 50 frames, the file is cut off") as caught:
        good.extend(frames)
    assert caught.value.reason == "truncated"
    assert 5 < len(good) < 50
    assert [frame.frame_index for frame in good] == list(range(len(good)))


def spoil(path, *, first: int, count: int):
    """Overwrite the packets first .. first + count - 1 of an MP4 with bytes that no decoder takes."""
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for position, size in places[first : first + count]:
        data[position : position + size] = b"\xff" * size
    path.write_bytes(data)


def test_after_damage_decoding_goes_on_at_the_next_keyframe(make_clip):
    path = make_clip("a.mp4", num_frames=60, fps=10, options={"g": "20", "bf": "0"})
    whole = sample_frames(path)
    spoil(path, first=25, count=3)
    batch = sample_frames(path)
    assert batch.problem.reason == "corrupt"
    assert batch.num_expected == 60
    np.testing.assert_allclose(batch.pts_seconds, [*np.arange(25) / 10, *np.arange(40, 60) / 10])
    np.testing.assert_array_equal(batch.data, whole.data[[*range(25), *range(40, 60)]])


def test_times_inside_the_damage_are_left_out_and_not_filled_with_the_frame_before(make_clip):
    path = make_clip("a.mp4", num_frames=60, fps=10, options={"g": "20", "bf": "0"})
    spoil(path, first=25, count=3)
    batch = sample_frames(path, every_seconds=0.5)
    np.testing.assert_allclose(batch.pts_seconds, [0, 0.5, 1, 1.5, 2, 4, 4.5, 5, 5.5])
    assert batch.num_expected == 12


def test_damage_that_no_wanted_frame_depends_on_is_no_problem(make_clip):
    path = make_clip("a.mp4", num_frames=60, fps=10, options={"g": "20", "bf": "0"})
    spoil(path, first=25, count=3)
    batch = sample_frames(path, timestamps=[0.0, 1.0, 4.0])
    assert batch.problem is None
    assert len(batch) == 3


def test_damage_at_the_beginning_does_not_shift_the_times(make_clip):
    path = make_clip("a.mp4", num_frames=60, fps=10, options={"g": "20", "bf": "0"})
    spoil(path, first=0, count=2)
    batch = sample_frames(path, every_seconds=1)
    np.testing.assert_allclose(batch.pts_seconds, [2, 3, 4, 5])
    assert batch.num_expected == 6
    assert batch.problem.reason == "corrupt"


def test_pictures_larger_than_allowed_are_refused(make_clip):
    path = make_clip("a.mp4", num_frames=2)
    assert reason_of(sample_frames, path, max_pixels=1000) == "too_large"
    assert reason_of(probe, path, max_pixels=1000) == "too_large"
    assert reason_of(sample_frames, path, size=(200, 200), max_pixels=64 * 96) == "too_large"


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_pictures_that_grow_past_what_is_allowed_are_too_large(make_clip, codec):
    small = make_clip("a.ts", codec=codec, num_frames=10).read_bytes()
    large = make_clip("b.ts", codec=codec, num_frames=2, size=(1088, 1920))
    path = large.with_name("c.ts")
    path.write_bytes(small + large.read_bytes())
    problem = sample_frames(path, max_pixels=64 * 96).problem
    assert (problem.reason, "10 of 12 frames" in problem.message) == ("too_large", True)


def test_a_hostile_number_of_frames_is_refused(make_clip):
    path = make_clip("a.mkv", num_frames=2, fps=1, pts=[0, 100_000_000], options={"bf": "0"})
    assert reason_of(sample_frames, path, fps=30) == "too_large"


def test_a_cover_picture_is_no_video(shared_data, tmp_path):
    source = shared_data / "clips" / "bikes.mp4"
    path = tmp_path / "song.mp4"
    with av.open(str(source)) as reader, av.open(str(path), "w") as writer:
        stream = writer.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = 640, 272, "yuvj420p"
        stream.disposition = av.stream.Disposition.attached_pic
        picture = next(reader.decode(video=0)).reformat(format="yuvj420p")
        picture.pts = 0
        for packet in itertools.chain(stream.encode(picture), stream.encode(None)):
            writer.mux(packet)
    with av.open(str(path)) as container:
        if av.stream.Disposition.attached_pic not in container.streams.video[0].disposition:
            pytest.skip("this FFmpeg does not write cover pictures into MP4")
    assert reason_of(probe, path) == "no_video_stream"


@pytest.mark.parametrize(
    "name",
    ["-leading dash.mp4", "100%d.mp4", "a:b.mp4", "http:x.mp4", "naïve 漢字.mp4", "quo'te\".mp4", "line\nbreak.mp4"],
)
def test_any_file_name_opens(make_clip, monkeypatch, tmp_path, name):
    shutil.move(make_clip("a.mp4", num_frames=3), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert len(sample_frames(name)) == 3


def test_metadata_in_an_unknown_encoding_do_not_stand_in_the_way(make_clip):
    path = make_clip("a.mkv", num_frames=3)
    data = path.read_bytes()
    assert data.count(b"Lavf") > 0
    path.write_bytes(data.replace(b"Lavf", b"\xe4\xf6\xfc\xdf"))
    assert len(sample_frames(path)) == 3
