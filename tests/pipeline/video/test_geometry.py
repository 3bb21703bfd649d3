"""Crop, size and orientation are those of the first shown picture and of the container, for every request alike."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np
import pytest

from tdn_data.pipeline.video import iter_frames, probe, sample_frames
from tdn_data.pipeline.video.cropping import NO_CROP, container_crop
from tdn_data.pipeline.video.matroska import elements

# a, b, c, d of the display matrix, what ffmpeg's automatic filters do for it, and the turn and mirror that equal it
ORIENTATIONS = {
    "none": ((1, 0, 0, 1), lambda p: p, (0, False)),
    "hflip": ((-1, 0, 0, 1), lambda p: p[:, ::-1], (0, True)),
    "vflip": ((1, 0, 0, -1), lambda p: p[::-1], (180, True)),
    "half turn": ((-1, 0, 0, -1), lambda p: p[::-1, ::-1], (180, False)),
    "transpose": ((0, 1, 1, 0), lambda p: p.swapaxes(0, 1), (90, True)),
    "clock": ((0, 1, -1, 0), lambda p: p.swapaxes(0, 1)[:, ::-1], (90, False)),
    "cclock": ((0, -1, 1, 0), lambda p: p.swapaxes(0, 1)[::-1], (270, False)),
    "antitranspose": ((0, -1, -1, 0), lambda p: p.swapaxes(0, 1)[::-1, ::-1], (270, True)),
}


def plain_pictures(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [picture.to_ndarray(format="rgb24") for picture in container.decode(video=0)]


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_each_display_matrix_is_shown_as_ffmpeg_shows_it(make_clip, name):
    matrix, shown, turn_and_mirror = ORIENTATIONS[name]
    path = make_clip("a.mp4", num_frames=12, matrix=matrix)
    due = [shown(picture) for picture in plain_pictures(path)]
    np.testing.assert_array_equal(sample_frames(path).data, np.stack(due))
    info = probe(path)
    assert (info.height, info.width) == due[0].shape[:2]
    assert (info.rotation, info.mirrored) == turn_and_mirror
    grey = next(iter_frames(path, timestamps=[0.2], pixel_format="gray")).data
    assert np.abs(grey - due[5] @ np.array([0.299, 0.587, 0.114])).mean() < 2
    height, width = (side // 4 for side in due[0].shape[:2])
    (small,) = iter_frames(path, timestamps=[0.2], size=(height, width), pixel_format="gray")
    assert np.abs(small.data - grey.reshape(height, 4, width, 4).mean(axis=(1, 3))).max() < 2
    assert min(sample_frames(path, timestamps=[0], size=32).data.shape[1:3]) == 32


@pytest.mark.parametrize("name", ["hflip", "clock", "cclock", "half turn"])
def test_projections_in_matroska_turn_and_mirror_likewise(make_clip, name):
    path = make_clip("a.mkv", num_frames=3, matrix=ORIENTATIONS[name][0])
    due = np.stack([ORIENTATIONS[name][1](picture) for picture in plain_pictures(path)])
    np.testing.assert_array_equal(sample_frames(path).data, due)


def test_orientation_survives_side_data_that_pyav_does_not_know(make_clip, tmp_path):
    """A MJPEG picture with EXIF orientation 5, transposed."""
    entry = struct.pack(">HHI2H", 0x112, 3, 1, 5, 0)
    body = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)
    app1 = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    source = make_clip("a.avi", codec="mjpeg", pixel_format="yuvj420p", num_frames=3)
    path = tmp_path / "exif.avi"
    with av.open(str(source)) as reader, av.open(str(path), "w") as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0])
        for number, packet in enumerate(packet for packet in reader.demux(video=0) if packet.size):
            data = bytes(packet)
            turned = av.Packet(data[:2] + app1 + data[2:])
            turned.pts = turned.dts = number
            turned.time_base, turned.stream, turned.is_keyframe = stream.time_base, stream, True
            writer.mux(turned)
    due = plain_pictures(source)[0].swapaxes(0, 1)
    np.testing.assert_array_equal(next(iter_frames(path)).data, due)
    assert (probe(path).rotation, probe(path).mirrored) == (90, True)


@pytest.mark.parametrize("decoding", ["sparse", "full"])
@pytest.mark.parametrize("pixel_format", ["rgb24", "gray"])
def test_size_is_that_of_the_first_picture_whichever_frames_are_asked_for(make_clip, tmp_path, pixel_format, decoding):
    first, second = make_clip("1.ts", num_frames=25), make_clip("2.ts", num_frames=25, size=(128, 64))
    path = tmp_path / "joined.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    for times in ([0.0], [0.0, 1.5], [1.5], [0.5, 1.6]):
        frames = list(iter_frames(path, timestamps=times, pixel_format=pixel_format, decoding=decoding))
        assert [frame.data.shape[:2] for frame in frames] == [(64, 96)] * len(times)
    (alone,) = iter_frames(path, timestamps=[1.5], pixel_format=pixel_format, decoding=decoding)
    *_, beside = iter_frames(path, timestamps=[0, 1.5], pixel_format=pixel_format, decoding=decoding)
    np.testing.assert_array_equal(alone.data, beside.data)
    assert alone.frame_index == beside.frame_index == 37


def test_the_first_picture_decides_before_any_is_asked_for(make_clip):
    path = make_clip("a.mp4", num_frames=50)
    assert [frame.frame_index for frame in iter_frames(path, timestamps=[0.4, 0.4, 1.9])] == [10, 10, 47]
    assert [frame.frame_index for frame in iter_frames(path, timestamps=[0.0, 0.0, 0.04])] == [0, 0, 1]


def element(identifier: str, content: bytes) -> bytes:
    return bytes.fromhex(identifier) + (len(content) | 1 << 56).to_bytes(8, "big") + content


def with_video_elements(source: Path, target: Path, added: dict[str, int], *, drop: Iterable[str] = ()) -> Path:
    """A Matroska file with elements of its video track added, and without index and seek table, which would be off."""
    (head, (_, segment)) = elements(source.read_bytes())
    parts = []
    for identifier, content in elements(segment):
        if identifier.hex() == "1654ae6b":
            content = _tracks_with(content, added, set(drop))
        if identifier.hex() not in ("114d9b74", "ec", "1c53bb6b"):
            parts.append(element(identifier.hex(), content))
    target.write_bytes(element(head[0].hex(), head[1]) + element("18538067", b"".join(parts)))
    return target


def _tracks_with(tracks: bytes, added: dict[str, int], drop: set[str]) -> bytes:
    parts = []
    for identifier, content in elements(tracks):
        entry = []
        for name, value in elements(content):
            if name.hex() == "e0":
                kept = [element(key.hex(), data) for key, data in elements(value) if key.hex() not in drop]
                value = b"".join(kept + [element(key, number.to_bytes(4, "big")) for key, number in added.items()])
            entry.append(element(name.hex(), value))
        parts.append(element(identifier.hex(), b"".join(entry)))
    return b"".join(parts)


TOP, BOTTOM, LEFT, RIGHT = "54bb", "54aa", "54cc", "54dd"
WIDTH, HEIGHT, UNIT = "54b0", "54ba", "54b2"


def test_matroska_crop_is_cut_off(make_clip, tmp_path):
    source = make_clip("a.mkv", num_frames=8)
    sides = {TOP: 6, BOTTOM: 10, LEFT: 4, RIGHT: 20}
    path = with_video_elements(source, tmp_path / "crop.mkv", sides, drop=[WIDTH, HEIGHT])
    due = np.stack(plain_pictures(source))[:, 6:-10, 4:-20]
    np.testing.assert_array_equal(sample_frames(path).data, due)
    info = probe(path)
    assert (info.height, info.width, info.coded_height, info.coded_width) == (48, 72, 64, 96)
    assert min(sample_frames(path, timestamps=[0.1], size=24).data.shape[1:3]) == 24
    grey = next(iter_frames(path, pixel_format="gray")).data
    assert np.abs(grey - due[0] @ np.array([0.299, 0.587, 0.114])).mean() < 2
    small = next(iter_frames(path, size=(12, 18), pixel_format="gray")).data
    assert np.abs(small - grey.reshape(12, 4, 18, 4).mean(axis=(1, 3))).max() < 2


def test_an_odd_crop_is_cut_to_the_pixel(make_clip, tmp_path):
    source = make_clip("a.mkv", num_frames=2, codec="ffv1", pixel_format="bgr0")
    sides = {TOP: 1, LEFT: 3, RIGHT: 2}
    path = with_video_elements(source, tmp_path / "crop.mkv", sides, drop=[WIDTH, HEIGHT])
    np.testing.assert_array_equal(sample_frames(path).data, np.stack(plain_pictures(source))[:, 1:, 3:-2])


def test_what_matroska_crops_is_shown_at_its_display_size(make_clip, tmp_path):
    source = make_clip("a.mkv", num_frames=3)
    elements = {TOP: 8, BOTTOM: 8, LEFT: 8, RIGHT: 8, WIDTH: 120, HEIGHT: 64}
    path = with_video_elements(source, tmp_path / "crop.mkv", elements, drop=[WIDTH, HEIGHT, UNIT])
    assert sample_frames(path, timestamps=[0]).data.shape == (1, 64, 120, 3)
    assert (probe(path).height, probe(path).width) == (64, 120)
    assert sample_frames(path, timestamps=[0], size=32).data.shape == (1, 32, 60, 3)
    stored = plain_pictures(source)[0][8:-8, 8:-8].astype(float)
    shown = sample_frames(path, timestamps=[0], size=(48, 80)).data[0]
    assert np.abs(shown - stored).mean() < 1


def test_crop_and_projection_go_together(make_clip, tmp_path):
    source = make_clip("a.mkv", num_frames=3, matrix=ORIENTATIONS["clock"][0])
    path = with_video_elements(source, tmp_path / "crop.mkv", {TOP: 16, LEFT: 32}, drop=[WIDTH, HEIGHT])
    due = np.stack([ORIENTATIONS["clock"][1](picture[16:, 32:]) for picture in plain_pictures(source)])
    np.testing.assert_array_equal(sample_frames(path).data, due)


def with_aperture(source: Path, target: Path, *numbers: int) -> Path:
    """A movie whose index is at its end, with a clean aperture: width, height, offset right and down, as fractions."""
    data = source.read_bytes()
    clap = struct.pack(">I4s8i", 40, b"clap", *numbers)
    entry = data.index(b"stsd") + 12
    end = entry + int.from_bytes(data[entry : entry + 4], "big")
    changed = bytearray(data[:end] + clap + data[end:])
    for at in (*(data.index(kind) - 4 for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")), entry):
        changed[at : at + 4] = (int.from_bytes(data[at : at + 4], "big") + len(clap)).to_bytes(4, "big")
    target.write_bytes(changed)
    return target


@pytest.mark.parametrize("name", ["a.mov", "a.mp4"])
@pytest.mark.parametrize(
    ("numbers", "kept"),
    [
        ((80, 1, 48, 1, 0, 1, 0, 1), np.s_[8:-8, 8:-8]),
        ((80, 1, 50, 1, 4, 1, -3, 1), np.s_[4:54, 12:92]),
        ((160, 2, 192, 4, -16, 2, 12, 2), np.s_[14:62, :80]),
        ((80, 1, 48, 1, 1, 2, 0, 1), np.s_[8:56, 8:88]),
        ((96, 1, 64, 1, 0, 1, 0, 1), np.s_[:, :]),
    ],
)
def test_the_clean_aperture_of_a_movie_is_what_is_shown(make_clip, tmp_path, name, numbers, kept):
    source = make_clip(name, num_frames=8)
    path = with_aperture(source, tmp_path / f"clap{name}", *numbers)
    due = np.stack(plain_pictures(source))[(slice(None), *kept)]
    np.testing.assert_array_equal(sample_frames(path).data, due)
    np.testing.assert_array_equal(sample_frames(path, timestamps=[0.13]).data, due[3:4])
    info = probe(path)
    assert (info.height, info.width, info.coded_height, info.coded_width) == (*due.shape[1:3], 64, 96)


def test_an_aperture_is_cut_before_the_picture_is_turned(make_clip, tmp_path):
    source = make_clip("a.mov", num_frames=3, matrix=ORIENTATIONS["clock"][0])
    path = with_aperture(source, tmp_path / "clap.mov", 80, 1, 50, 1, 4, 1, -3, 1)
    due = np.stack([ORIENTATIONS["clock"][1](picture[4:54, 12:92]) for picture in plain_pictures(source)])
    np.testing.assert_array_equal(sample_frames(path).data, due)


@pytest.mark.parametrize(
    "numbers",
    [
        (0, 1, 48, 1, 0, 1, 0, 1),
        (80, 0, 48, 1, 0, 1, 0, 1),
        (80, 1, 48, 1, 0, -1, 0, 1),
        (98, 1, 64, 1, 0, 1, 0, 1),
        (80, 1, 48, 1, 9, 1, 0, 1),
        (80, 1, 48, 1, 0, 1, -9, 1),
        (-80, 1, 48, 1, 0, 1, 0, 1),
        (2147483647, 1, 2147483647, 1, 2147483647, 1, -2147483648, 1),
    ],
)
def test_an_impossible_aperture_is_none(make_clip, tmp_path, numbers):
    source = make_clip("a.mov", num_frames=2)
    path = with_aperture(source, tmp_path / "clap.mov", *numbers)
    np.testing.assert_array_equal(sample_frames(path).data, np.stack(plain_pictures(source)))


def test_files_without_crop_have_none(make_clip):
    for name in ("a.mkv", "a.mp4"):
        path = make_clip(name, num_frames=2)
        with av.open(str(path)) as container:
            assert container_crop(path, container.streams.video[0]) == NO_CROP


def test_clips_that_were_once_wrong(shared_data):
    faults = shared_data / "faults"
    for name, shown in (("hflip.mp4", "hflip"), ("transpose.mp4", "transpose")):
        due = ORIENTATIONS[shown][1](plain_pictures(faults / name)[0])
        np.testing.assert_array_equal(sample_frames(faults / name, timestamps=[0]).data[0], due)
    for name, size in (("sei_rot90.mp4", (128, 96)), ("size_change.ts", (144, 176)), ("crop.mkv", (96, 128))):
        for times in ([0], [0, 2.2], [2.2]):
            assert sample_frames(faults / name, timestamps=times).data.shape[1:3] == size
