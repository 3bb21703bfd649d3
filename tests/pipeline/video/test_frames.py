"""Frames at chosen times: identical to a full decode, whatever the codec, container and timestamps."""

from __future__ import annotations

import json
from fractions import Fraction

import av
import numpy as np
import pytest

from tdn_data.pipeline.video import completeness, frames, iter_frames, packet_rows, probe, sample_frames, timeline
from tdn_data.pipeline.video.decode_plan import needed_packets, plan_runs
from tdn_data.pipeline.video.decoder import read_timeline

CLIPS = (
    "R6llTwEh07w.mp4",
    "av1_video.mkv",
    "bigbuckbunny.mp4",
    "bikes.mp4",
    "bt709_full_range.mp4",
    "chaplin.mp4",
    "cup.mp4",
    "demo.mp4",
    "demo_skeleton.mp4",
    "fixture.mpg",
    "fixture.ps.mpg",
    "fixture.wmv.asf",
    "fixture2.3gp",
    "flipping_a_pancake.mkv",
    "h264_10bits.mp4",
    "h265_10bits.mp4",
    "h265_video.mp4",
    "mmaction2_test.mp4",
    "nasa_13013.mp4",
    "no_duration.webm",
    "transparent.webm",
    "v_SoccerJuggling_g23_c01.avi",
    "video_0.mov",
    "video_180.mov",
    "video_270.mov",
    "video_90.mov",
)
BARE_RATES = {"fixture.mpg": 15}  # pictures a second by the stream itself; the stamps of bare streams are made up

# name: (file, options of make_clip)
KINDS = {
    "h264_closed_groups": ("a.mp4", {"options": {"g": "12", "bf": "3"}}),
    "h264_open_groups": ("a.mp4", {"options": {"x264-params": "open-gop=1:keyint=12:bframes=3"}}),
    "h264_interlaced": ("a.mp4", {"options": {"x264-params": "interlaced=1:keyint=20"}}),
    "h264_intra_refresh": ("a.mkv", {"options": {"x264-params": "intra-refresh=1:keyint=20"}}),
    "h264_transport_stream": ("a.ts", {"options": {"g": "12", "bf": "2"}}),
    "hevc_open_groups": (
        "a.mp4",
        {"codec": "libx265", "options": {"x265-params": "log-level=none:keyint=12:min-keyint=6:open-gop=1:bframes=4"}},
    ),
    "hevc_temporal_layers": (
        "a.mkv",
        {"codec": "libx265", "options": {"x265-params": "log-level=none:keyint=20:temporal-layers=1:bframes=4"}},
    ),
    "mpeg1": ("a.mpg", {"codec": "mpeg1video", "options": {"g": "12", "bf": "2"}}),
    "mpeg2_interlaced": ("a.ts", {"codec": "mpeg2video", "options": {"g": "12", "bf": "2", "flags": "+ildct+ilme"}}),
    "mpeg4": ("a.mp4", {"codec": "mpeg4", "options": {"g": "12", "bf": "2"}}),
    "vp8_hidden_frames": (
        "a.webm",
        {"codec": "libvpx", "options": {"auto-alt-ref": "1", "lag-in-frames": "16", "g": "30", "b": "200k"}},
    ),
    "vp9": ("a.webm", {"codec": "libvpx-vp9", "options": {"g": "20", "lag-in-frames": "12", "cpu-used": "8"}}),
    "av1": ("a.mp4", {"codec": "libsvtav1", "options": {"preset": "12", "g": "20", "svtav1-params": "lp=1"}}),
    "mpeg4_in_avi": ("a.avi", {"codec": "mpeg4", "options": {"g": "12"}}),
    "mjpeg_in_avi": ("a.avi", {"codec": "mjpeg", "pixel_format": "yuvj420p"}),
    "mjpeg": ("a.mov", {"codec": "mjpeg", "pixel_format": "yuvj420p"}),
    "wmv2": ("a.wmv", {"codec": "wmv2", "options": {"g": "12"}}),
    "flv1": ("a.flv", {"codec": "flv", "options": {"g": "12"}}),
    "ffv1": ("a.mkv", {"codec": "ffv1"}),
    "odd_size": ("a.mp4", {"pixel_format": "yuv444p", "size": (63, 97)}),
    "variable_rate": ("a.mp4", {"pts": [3 * k + k % 3 for k in range(60)], "options": {"g": "12"}}),
    "negative_first_pts": ("a.nut", {"pts": list(range(-20, 40)), "options": {"g": "12", "bf": "0"}}),
}


def grids(end_seconds: float) -> dict[str, np.ndarray]:
    """Times to ask for: far apart, close, and at random, past the end as well."""
    end_seconds = max(end_seconds, 0.1)
    random = np.random.default_rng(0).uniform(0, end_seconds * 1.05, 8)
    return {"sparse": np.arange(0, end_seconds, 1.3), "dense": np.arange(0, 0.8, 0.05), "random": np.sort(random)}


@pytest.mark.parametrize("name", CLIPS)
def test_real_clips_give_the_frames_of_a_full_decode(shared_data, decode_plainly, assert_same_frames, name):
    path = shared_data / "clips" / name
    plain = decode_plainly(path, fps=BARE_RATES.get(name))
    for times in grids(plain.pts_seconds[-1]).values():
        assert_same_frames(path, plain, np.append(times, times[-1]))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_stream_gives_the_frames_of_a_full_decode(make_clip, decode_plainly, assert_same_frames, kind):
    name, options = KINDS[kind]
    path = make_clip(name, **options)
    plain = decode_plainly(path)
    for times in grids(plain.pts_seconds[-1]).values():
        assert_same_frames(path, plain, times)
    assert [frame.frame_index for frame in iter_frames(path)] == list(range(len(plain.pictures)))


def test_frames_equal_those_that_another_decoder_expects(shared_data):
    """The files come from an x86 machine; elsewhere swscale's other code paths may round differently, by 2 at most."""
    torch = pytest.importorskip("torch")
    for name, stream, rate, indices in (
        ("nasa_13013.mp4", 3, Fraction(30000, 1001), (0, 5, 9, 15, 20)),
        ("h265_video.mp4", 0, Fraction(10), (5,)),
        ("av1_video.mkv", 0, Fraction(25), (10,)),
    ):
        batch = sample_frames(shared_data / "clips" / name, timestamps=[float(index / rate) for index in indices])
        assert batch.frame_index.tolist() == list(indices)
        for data, index in zip(batch.data, indices, strict=True):
            expected = torch.load(shared_data / "reference" / f"{name}.stream{stream}.frame{index:06d}.pt").numpy()
            assert np.abs(data.astype(int) - expected).max() <= 2


def test_timestamps_equal_those_that_another_decoder_expects(shared_data):
    infos = json.loads((shared_data / "reference" / "nasa_13013.mp4.stream3.all_frames_info.json").read_text())
    times = [frame.pts_seconds for frame in iter_frames(shared_data / "clips" / "nasa_13013.mp4", size=(8, 8))]
    np.testing.assert_allclose(times, [float(info["pts_time"]) for info in infos], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "believed"),
    [
        ("v_SoccerJuggling_g23_c01.avi", True),  # I and P pictures only, one per chunk
        ("RATRACE_wave_f_nm_np1_fr_goo_37.avi", False),  # packed pairs
        ("bikes.mp4", True),
        ("fixture.mpg", True),
    ],
)
def test_timestamps_are_taken_from_packets_only_where_they_can_be_believed(shared_data, name, believed):
    found = read_timeline(shared_data / "clips" / name, max_pixels=1 << 24)
    assert (found.table is not None) == believed


def test_packets_can_be_read_twice_where_they_do_not_fit_into_memory(
    make_clip, decode_plainly, assert_same_frames, monkeypatch
):
    monkeypatch.setattr(packet_rows, "MAX_KEPT_BYTES", 1000)
    path = make_clip("a.mp4", options={"g": "12", "bf": "3"})
    plain = decode_plainly(path)
    for times in grids(plain.pts_seconds[-1]).values():
        assert_same_frames(path, plain, times)


def test_a_file_that_is_opened_again_has_the_same_limit_of_pixels(make_clip, monkeypatch):
    seen = []
    for module in (completeness, frames, timeline):

        def watched(path, *, max_pixels, opened=module.open_video):
            seen.append(max_pixels)
            return opened(path, max_pixels=max_pixels)

        monkeypatch.setattr(module, "open_video", watched)
    monkeypatch.setattr(packet_rows, "MAX_KEPT_BYTES", 1000)  # the packets are read again
    monkeypatch.setattr(timeline, "_may_begin_hidden", lambda *words: True)  # the first picture is looked for
    assert len(sample_frames(make_clip("a.mp4", options={"g": "12"}), max_pixels=1 << 27))
    assert len(seen) == 3 and set(seen) == {1 << 27}


@pytest.mark.parametrize("kind", ["h264_closed_groups", "hevc_open_groups", "mpeg2_interlaced", "mpeg4"])
def test_sparse_sampling_leaves_most_packets_alone(make_clip, kind):
    name, options = KINDS[kind]
    found = read_timeline(make_clip(name, **options), max_pixels=1 << 20)
    wanted = np.sort(found.frame_packets[[0, 30]])
    sent = sum(needed_packets(found.table, wanted, run).sum() for run in plan_runs(found.table, wanted))
    assert sent <= len(found.pts_seconds) / 4


def test_frame_at_t_is_the_last_shown_before_t(make_clip):
    path = make_clip("a.mp4", fps=10, num_frames=5)
    times = [0.0, 0.0999, 0.1, 0.1001, 0.35, 99.0]
    batch = sample_frames(path, timestamps=times)
    assert batch.frame_index.tolist() == [0, 0, 1, 1, 3, 4]
    np.testing.assert_allclose(batch.pts_seconds, [0, 0, 0.1, 0.1, 0.3, 0.4])


def test_every_seconds_asks_from_zero_to_before_the_end(make_clip):
    path = make_clip("a.mp4", fps=10, num_frames=30)
    assert sample_frames(path, every_seconds=1).frame_index.tolist() == [0, 10, 20]
    assert sample_frames(path, every_seconds=0.7).frame_index.tolist() == [0, 7, 14, 21, 28]
    assert sample_frames(path, every_seconds=50).frame_index.tolist() == [0]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts"])
def test_the_files_own_rate_gives_every_frame_once_and_twice_the_rate_each_frame_twice(make_clip, name):
    path = make_clip(name, fps=30, num_frames=40, codec="mpeg4")
    assert [frame.frame_index for frame in iter_frames(path, fps=30)] == list(range(40))
    assert [frame.frame_index for frame in iter_frames(path, fps=60)] == np.repeat(np.arange(40), 2).tolist()
    assert [frame.frame_index for frame in iter_frames(path, fps=15)] == list(range(0, 40, 2))


def test_a_late_first_frame_is_time_zero(make_clip, remux, tmp_path):
    source = make_clip("a.mp4", fps=10, num_frames=20)
    for target in ("late.mp4", "late.mkv", "late.ts"):
        path = remux(source, tmp_path / target, shift_seconds=2.5)
        batch = sample_frames(path, every_seconds=0.5)
        assert batch.frame_index.tolist() == [0, 5, 10, 15]
        np.testing.assert_allclose(batch.pts_seconds, [0, 0.5, 1, 1.5], atol=1e-3)


@pytest.mark.parametrize("params", ["keyint=12:bframes=3", "keyint=12:bframes=3:open-gop=1"])
def test_what_an_edit_list_cuts_away_is_neither_shown_nor_counted(
    make_clip, remux, tmp_path, decode_plainly, assert_same_frames, params
):
    source = make_clip("a.mp4", fps=10, options={"x264-params": params})
    path = remux(source, tmp_path / "cut.mp4", shift_seconds=-0.7, options={"avoid_negative_ts": "disabled"})
    plain = decode_plainly(path)
    assert len(plain.pictures) < 60
    for times in grids(plain.pts_seconds[-1]).values():
        assert_same_frames(path, plain, times)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg2video"])
def test_a_stream_without_timestamps_runs_at_its_mean_rate(make_clip, decode_plainly, assert_same_frames, codec):
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {"bf": "2"}
    formats = {"libx264": "h264", "libx265": "hevc", "mpeg2video": "mpeg2video"}
    path = make_clip("a.bin", codec=codec, options=options, container_format=formats[codec])
    plain = decode_plainly(path, fps=25)
    assert len(plain.pictures) == 60
    assert_same_frames(path, plain, np.arange(0, 2.3, 0.31))


def test_timestamps_of_packed_pictures_in_an_old_avi_are_put_right(shared_data, decode_plainly, assert_same_frames):
    path = shared_data / "clips" / "RATRACE_wave_f_nm_np1_fr_goo_37.avi"
    plain = decode_plainly(path, fps=30)
    stored = [picture.pts for picture in plain.pictures]
    assert stored != sorted(stored)
    for times in grids(plain.pts_seconds[-1]).values():
        assert_same_frames(path, plain, times)


def test_frames_left_out_of_an_avi_keep_the_others_in_time(make_clip):
    path = make_clip("a.avi", codec="mpeg4", fps=10, num_frames=10, pts=[0, 1, 2, 6, 7, 8, 9, 10, 14, 15])
    times = [frame.pts_seconds for frame in iter_frames(path)]
    np.testing.assert_allclose(times, [0, 0.1, 0.2, 0.6, 0.7, 0.8, 0.9, 1.0, 1.4, 1.5])


def test_of_several_video_streams_the_one_that_players_take_is_decoded(shared_data):
    path = shared_data / "clips" / "nasa_13013.mp4"
    with av.open(str(path)) as container:
        sizes = {stream.index: (stream.height, stream.width) for stream in container.streams.video}
    assert sizes[3] != sizes[0]
    assert sample_frames(path, every_seconds=100).data.shape[1:3] == sizes[3]


@pytest.mark.parametrize(("name", "turns"), [("video_90.mov", 3), ("video_180.mov", 2), ("video_270.mov", 1)])
def test_rotation_is_applied_with_and_without_resizing(shared_data, name, turns):
    path = shared_data / "clips" / name
    with av.open(str(path)) as container:
        stored = next(container.decode(video=0)).to_ndarray(format="rgb24")
    upright = np.rot90(stored, k=turns)
    first = next(iter_frames(path))
    np.testing.assert_array_equal(first.data, upright)
    info = probe(path)
    assert (info.height, info.width) == upright.shape[:2]
    assert info.rotation == (360 - 90 * turns) % 360
    height, width = upright.shape[0] // 8, upright.shape[1] // 8
    small = next(iter_frames(path, size=(height, width))).data
    assert small.shape == (height, width, 3)
    assert np.abs(small - upright.reshape(height, 8, width, 8, 3).mean(axis=(1, 3))).mean() < 2


@pytest.mark.parametrize(
    ("aspect", "shown"), [(Fraction(2), (64, 192)), (Fraction(1, 2), (128, 96)), (Fraction(64, 51), (64, 120))]
)
def test_pixels_are_made_square_by_stretching(make_clip, aspect, shown):
    path = make_clip("a.mp4", num_frames=4, pixel_aspect=aspect)
    assert next(iter_frames(path)).data.shape[:2] == shown
    info = probe(path)
    assert (info.height, info.width) == shown
    assert (info.coded_height, info.coded_width) == (64, 96)
    assert next(iter_frames(path, size=(32, 32))).data.shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("coded", "aspect", "shown"),
    [
        ((64, 96), None, (32, 48)),
        ((96, 64), None, (48, 32)),
        ((63, 97), None, (32, 49)),  # 97 * 32 / 63 = 49.3
        ((64, 96), Fraction(2), (32, 96)),
        ((64, 96), Fraction(1, 2), (43, 32)),  # 128 x 96 with square pixels; 128 * 32 / 96 = 42.7
        ((64, 96), Fraction(64, 51), (32, 60)),  # 120.47 wide: rounded once, at the end
    ],
)
def test_the_shorter_side_alone_keeps_the_aspect_ratio(make_clip, coded, aspect, shown):
    path = make_clip("a.mp4", num_frames=2, size=coded, pixel_aspect=aspect, pixel_format="yuv444p")
    assert [frame.data.shape for frame in iter_frames(path, size=32)] == [(*shown, 3)] * 2
    np.testing.assert_array_equal(sample_frames(path, size=32).data, sample_frames(path, size=shown).data)


@pytest.mark.parametrize("name", ["video_0.mov", "video_90.mov", "video_180.mov"])
def test_the_shorter_side_is_that_of_the_upright_picture(shared_data, name):
    path = shared_data / "clips" / name
    info = probe(path)
    shown = sample_frames(path, timestamps=[0], size=90)
    assert min(shown.data.shape[1:3]) == 90
    assert shown.data.shape[1] / shown.data.shape[2] == pytest.approx(info.height / info.width, rel=0.01)


def test_grey_frames_are_full_range_luma(shared_data):
    path = shared_data / "clips" / "bikes.mp4"
    grey = next(iter_frames(path, pixel_format="gray")).data
    rgb = next(iter_frames(path)).data
    assert grey.shape == rgb.shape[:2]
    assert grey.dtype == np.uint8
    luma = rgb @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey - luma).mean() < 2  # chroma that RGB cannot hold was clipped
    assert grey.max() > 250


def test_resized_frames_are_averages_of_areas(make_clip):
    path = make_clip("a.mp4", num_frames=2, pixel_format="yuv444p", options={"crf": "5"}, size=(64, 96))
    whole = next(iter_frames(path)).data.astype(float)
    half = next(iter_frames(path, size=(32, 48))).data
    means = whole.reshape(32, 2, 48, 2, 3).mean(axis=(1, 3))
    assert np.abs(half - means).max() <= 3  # averaged before the conversion to RGB, not after


def test_the_same_frame_asked_for_twice_comes_twice(make_clip):
    batch = sample_frames(make_clip("a.mp4", fps=10, num_frames=5), timestamps=[0.2, 0.2, 0.25])
    assert batch.frame_index.tolist() == [2, 2, 2]
    assert len(batch) == batch.num_expected == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every_seconds": 1, "fps": 2}, "every_seconds and fps are given together"),
        ({"every_seconds": 0}, "every_seconds is 0"),
        ({"fps": -1.0}, "fps is -1.0"),
        ({"fps": float("nan")}, "fps is nan"),
        ({"timestamps": []}, r"timestamps is \[\]"),
        ({"timestamps": [1.0, 0.5]}, "seconds >= 0 that do not fall"),
        ({"timestamps": [-1.0]}, "seconds >= 0"),
        ({"size": (0, 5)}, r"size is \(0, 5\)"),
        ({"size": 0}, "size is 0; it must be .*the shorter side, at least 1"),
        ({"pixel_format": "bgr24"}, "pixel_format is 'bgr24'; it must be one of rgb24, gray"),
    ],
)
def test_options_out_of_range_are_named_before_anything_is_opened(options, message):
    with pytest.raises(ValueError, match=message):
        iter_frames("no such file.mp4", **options)


def test_keeping_a_little_of_each_frame_does_not_keep_the_frames(make_clip):
    """Small blocks allocated between frames must not pin the frames' own memory."""
    resource = pytest.importorskip("resource")
    path = make_clip("a.mp4", num_frames=300, size=(360, 640), options={"preset": "ultrafast", "bf": "0"})
    kept = [frame.data[0].copy() for frame in iter_frames(path, fps=25)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kept += [frame.data[0].copy() for frame in iter_frames(path, fps=25)]
    grown_bytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    assert len(kept) == 600
    assert grown_bytes < 300 * 640 * 360 * 3 / 4


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.webm", "libvpx-vp9", {"lossless": "1"}),
        ("a.mkv", "libx264", {"qp": "0"}),
        ("a.mp4", "libsvtav1", {"crf": "1", "preset": "12"}),
    ],
)
def test_full_range_pictures_keep_their_range(tmp_path, name, codec, options):
    """Grey steps 0 to 255, in yuv420p with its range only marked: taken for limited they would be clipped."""
    steps = np.repeat(np.arange(0, 256, 17, dtype=np.uint8), 8)  # 16 steps
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = 64, 128, "yuv420p"
        stream.codec_context.color_range = 2
        for number in range(3):
            planes = np.vstack([np.tile(steps, (64, 1)), np.full((32, 128), 128, np.uint8)])
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.color_range, frame.pts = 2, number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    for options in ({}, {"size": (32, 64)}, {"pixel_format": "gray"}, {"pixel_format": "gray", "size": (32, 64)}):
        data = next(iter_frames(path, **options)).data
        row = data[data.shape[0] // 2].reshape(16, -1)
        np.testing.assert_allclose(np.median(row, axis=1), np.arange(0, 256, 17), atol=2)
