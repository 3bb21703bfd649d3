"""Only plain containers are opened, and only regular files."""

from __future__ import annotations

import os
import socket

import av
import pytest

from tdn_data.pipeline.errors import VideoError
from tdn_data.pipeline.video import iter_frames, probe
from tdn_data.pipeline.video.container_formats import FORMATS

FOLLOWING = {
    "hls": "list.m3u8",
    "concat": "list.ffconcat",
    "dash": "list.mpd",
    "imf": "CPL.xml",
    "sdp": "session.sdp",
    "image2": "image%03d.jpg",
    "tty": "text.ans",
}
TEXTS = {
    "hls": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{name}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{name}'\n",
    "dash": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><AdaptationSet><Representation>'
    "<BaseURL>{name}</BaseURL></Representation></AdaptationSet></Period></MPD>\n",
    "imf": '<?xml version="1.0"?>\n<CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016">'
    "</CompositionPlaylist>\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
    "image2": "x",
    "tty": "plain text\n" * 20,
}


def problem(path) -> VideoError:
    with pytest.raises(VideoError) as caught:
        next(iter_frames(path))
    with pytest.raises(VideoError) as probed:
        probe(path)
    assert probed.value.reason == caught.value.reason
    return caught.value


@pytest.mark.parametrize("kind", FOLLOWING)
@pytest.mark.parametrize("extension", ["own", "mp4"])
def test_what_names_other_files_is_not_followed(make_clip, tmp_path, kind, extension):
    clip = make_clip("clip.ts", num_frames=5)
    path = tmp_path / (FOLLOWING[kind] if extension == "own" else "list.mp4")
    path.write_text(TEXTS[kind].format(name=clip.name))
    error = problem(path)
    assert error.reason in ("unsupported", "unreadable")
    if kind in ("hls", "concat", "tty") and extension == "own":
        assert error.reason == "unsupported"
        assert error.sentence == "the file is a playlist or of another kind that is not read here"
    assert str(tmp_path) not in error.sentence


def test_no_format_of_the_list_follows_references():
    following = {"hls", "concat", "dash", "imf", "sdp", "rtsp", "sap", "rtp", "image2", "image2pipe", "lavfi", "tty"}
    following |= {"hds", "webm_dash_manifest", "vobsub", "ffmetadata", "applehttp", "rawvideo", "svg_pipe", "bluray"}
    assert following.isdisjoint(FORMATS)
    assert set(FORMATS) <= av.formats_available | {"asf_o"}


def test_an_animated_webp_is_unsupported_and_not_damaged(tmp_path):
    image = pytest.importorskip("PIL.Image")
    first, *more = (image.new("RGB", (64, 48), (40 * number, 0, 0)) for number in range(4))
    first.save(tmp_path / "a.webp", save_all=True, append_images=more, duration=100)
    error = problem(tmp_path / "a.webp")
    assert error.reason == "unsupported"
    assert error.sentence == "the file is an animated WebP, which FFmpeg does not decode"
    first.save(tmp_path / "still.webp")
    assert next(iter_frames(tmp_path / "still.webp")).data.shape == (48, 64, 3)


def test_a_codec_without_a_decoder_is_unsupported(make_clip):
    path = make_clip("a.mkv", codec="libx264", num_frames=3)
    data = path.read_bytes()
    assert data.count(b"V_MPEG4/ISO/AVC") == 1
    path.write_bytes(data.replace(b"V_MPEG4/ISO/AVC", b"V_NOBODY/KNOWS/"))
    error = problem(path)
    assert error.reason == "unsupported"
    assert error.sentence == "there is no decoder for its video codec here"


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "fifo.mp4")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.mp4"))
        (tmp_path / "folder.mp4").mkdir()
        (tmp_path / "zero.mp4").symlink_to("/dev/zero")
        for name, words in (("fifo", "FIFO"), ("socket", "socket"), ("folder", "folder"), ("zero", "device")):
            error = problem(tmp_path / f"{name}.mp4")
            assert error.reason == "unreadable" and words in error.sentence
    missing = problem(tmp_path / ("n" * 300 + ".mp4"))
    assert missing.reason == "missing" and "too long" in missing.sentence


def test_messages_are_sentences_without_numbers_of_errors(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video at all" * 100)
    error = problem(tmp_path / "a.mp4")
    assert error.reason == "unreadable"
    assert error.sentence == "the file cannot be opened as a video (invalid data found when processing input)"


def _grown(data: bytes, at: int, old: bytes, new: bytes) -> bytes:
    """An ISO file with `old` at `at` replaced by `new`, and the boxes around it made larger by as much."""
    out, begin, end = bytearray(data), 0, len(data)
    while begin < at:
        size, kind = int.from_bytes(out[begin : begin + 4], "big"), bytes(out[begin + 4 : begin + 8])
        if begin + size <= at:
            begin += size
            continue
        assert begin + size <= end
        out[begin : begin + 4] = (size + len(new) - len(old)).to_bytes(4, "big")
        begin, end = begin + (16 if kind == b"dref" else 8), begin + size
    assert begin == at
    return bytes(out[:at]) + new + bytes(out[at + len(old) :])


def test_pictures_that_lie_in_another_file_are_not_looked_for(make_clip, tmp_path):
    clip = make_clip("a.mov", num_frames=5)
    own = b"\0\0\0\x0curl \0\0\0\1"
    data = clip.read_bytes()
    if data.count(own) != 1:
        own = b"\0\0\0\x0calis\0\0\0\1"
    name = b"/etc/passwd"
    alias = bytes(10) + b"\4Disk" + bytes(23) + bytes(12) + b"\5other" + bytes(58) + bytes(36)
    alias += b"\0\2" + len(name).to_bytes(2, "big") + name + b"\0" * (len(name) % 2) + b"\xff\xff\0\0"
    other = (12 + len(alias)).to_bytes(4, "big") + b"alis" + bytes(4) + alias
    path = tmp_path / "reference.mov"
    path.write_bytes(_grown(data, data.index(own), own, other))
    error = problem(path)
    assert error.reason == "unsupported"
    assert error.sentence == "the file is a movie whose pictures lie in another file, which is not opened"
