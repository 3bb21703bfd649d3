"""Numbered pictures encoded once per session, by every codec that PyAV brings: the raw material of the cases.

A stream is a list of packets in decoding order, each with the number of the picture it shows, and the pictures that a
plain decode of the untouched stream gives: the reference that every returned picture is compared with, byte for byte.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache

import av
import numpy as np

from tests.pipeline.video.exact.pictures import HEIGHT, WIDTH, picture, read_number

NUM_PICTURES = 40
FPS = 25


@dataclass(frozen=True)
class Coding:
    """How one kind of stream is encoded."""

    encoder: str
    options: dict[str, str] = field(default_factory=dict)
    gop: int | None = None
    b_frames: int | None = None
    pixel_format: str = "yuv420p"
    size: tuple[int, int] = (HEIGHT, WIDTH)
    holder: str = "nut"  # the container that the encoded stream is first kept in

    @property
    def reorders(self) -> bool:
        """Whether pictures may be shown in another order than they are decoded in."""
        parameters = "".join(self.options.values())
        return bool(self.b_frames) or ("bframes=" in parameters and "bframes=0" not in parameters)


@dataclass(frozen=True)
class CodedPacket:
    """One packet: `number` is that of the picture it shows, None for a packet that only later ones need."""

    data: bytes
    number: int | None
    start: bool  # decoding can really begin here
    key: bool  # what the encoder says


@dataclass(frozen=True)
class Stream:
    """One encoded stream and its reference pictures."""

    name: str
    codec: str  # FFmpeg's canonical name
    packets: tuple[CodedPacket, ...]
    reference: dict[int, np.ndarray]  # number: uint8 (H, W, 3)
    extradata: bytes
    holder: bytes  # a file with this stream, the template of all others

    @property
    def square(self) -> bool:
        """Whether its pixels are square; those of H.261 and H.263 are 12 : 11."""
        return self.codec not in ("h261", "h263")

    @property
    def numbers(self) -> list[int]:
        """Numbers of the shown pictures in the order on screen."""
        return sorted(packet.number for packet in self.packets if packet.number is not None)


def _x264(parameters: str, **options) -> Coding:
    return Coding("libx264", {"x264-params": f"threads=1:cpu-independent=1:{parameters}"}, **options)


def _x265(parameters: str, **options) -> Coding:
    return Coding("libx265", {"x265-params": f"log-level=none:pools=none:frame-threads=1:{parameters}"}, **options)


def _av1(parameters: str, gop: str) -> Coding:
    options = {"preset": "8", "crf": "8", "g": gop, "svtav1-params": f"lp=1:enable-tf=0:{parameters}"}
    return Coding("libsvtav1", options)


def _vpx(encoder: str, gop: int, **options: str) -> Coding:
    return Coding(encoder, {"cpu-used": "8", "b": "250k", "deadline": "realtime", **options}, gop=gop)


CODINGS: dict[str, Coding] = {
    "h264-b0-gop12": _x264("keyint=12:bframes=0"),
    "h264-b2-gop12": _x264("keyint=12:bframes=2:scenecut=0"),
    "h264-b2-gop12-open": _x264("keyint=12:min-keyint=12:bframes=2:b-adapt=0:open-gop=1:scenecut=0"),
    "h264-pyramid-gop20": _x264("keyint=20:bframes=4:b-adapt=0:b-pyramid=normal:ref=4:scenecut=0"),
    "h264-b2-long": _x264("keyint=250:bframes=2:scenecut=0"),
    "h264-b0-long": _x264("keyint=250:bframes=0:scenecut=0"),
    "h264-refresh": _x264("keyint=12:intra-refresh=1:bframes=0"),
    "h264-mbaff": _x264("keyint=12:bframes=2:interlaced=1:scenecut=0"),
    "h264-slices": _x264("keyint=12:bframes=2:slices=4:scenecut=0"),
    "h264-aud": _x264("keyint=12:bframes=2:aud=1:repeat-headers=1:scenecut=0"),
    "h264-intra": _x264("keyint=1"),
    "h264-10bit": _x264("keyint=12:bframes=2:scenecut=0", pixel_format="yuv420p10le"),
    "hevc-b0-gop12": _x265("keyint=12:min-keyint=12:bframes=0:scenecut=0"),
    "hevc-b3-gop12": _x265("keyint=12:min-keyint=12:bframes=3:open-gop=0:scenecut=0"),
    "hevc-b3-gop12-open": _x265("keyint=12:min-keyint=12:bframes=3:open-gop=1:scenecut=0"),
    "hevc-layers-gop20": _x265("keyint=20:min-keyint=20:bframes=4:temporal-layers=1:b-adapt=0:scenecut=0"),
    "hevc-b3-long": _x265("keyint=250:bframes=3:scenecut=0"),
    "mpeg1-b0-gop12": Coding("mpeg1video", gop=12, b_frames=0),
    "mpeg1-b2-gop12": Coding("mpeg1video", gop=12, b_frames=2),
    "mpeg2-b0-gop12": Coding("mpeg2video", gop=12, b_frames=0),
    "mpeg2-b2-gop12": Coding("mpeg2video", gop=12, b_frames=2),
    "mpeg2-b2-gop12-closed": Coding("mpeg2video", {"flags": "+cgop", "sc_threshold": "1000000000"}, 12, 2),
    "mpeg2-interlaced": Coding("mpeg2video", {"flags": "+ildct+ilme"}, 12, 2),
    "mpeg2-intra": Coding("mpeg2video", gop=1, b_frames=0),
    "mpeg4-b0-gop12": Coding("mpeg4", gop=12, b_frames=0),
    "mpeg4-b2-gop12": Coding("mpeg4", gop=12, b_frames=2),
    "mpeg4-b2-gop12-closed": Coding("mpeg4", {"flags": "+cgop", "sc_threshold": "1000000000"}, 12, 2),
    "mpeg4-b0-long": Coding("mpeg4", gop=250, b_frames=0),
    "h261-gop12": Coding("h261", gop=12, size=(144, 176)),
    "h263-gop12": Coding("h263", gop=12),
    "h263-long": Coding("h263", gop=250),
    "h263p-gop12": Coding("h263p", gop=12),
    "flv1-gop12": Coding("flv", gop=12),
    "msmpeg4v2-gop12": Coding("msmpeg4v2", gop=12),
    "msmpeg4v3-gop12": Coding("msmpeg4", gop=12),
    "wmv1-gop12": Coding("wmv1", gop=12),
    "wmv2-gop12": Coding("wmv2", gop=12),
    "svq1-gop12": Coding("svq1", gop=12, pixel_format="yuv410p"),
    "snow-gop12": Coding("snow", gop=12),
    "vp8-gop20": _vpx("libvpx", 20),
    "vp8-hidden": _vpx("libvpx", 20),
    "vp9-gop20": _vpx("libvpx-vp9", 20),
    "vp9-long": _vpx("libvpx-vp9", 250, **{"lag-in-frames": "12", "deadline": "good"}),
    "av1-gop16": _av1("scd=0", "16"),
    "av1-low-delay": _av1("scd=0:pred-struct=1", "16"),
    "av1-open": _av1("scd=0:irefresh-type=1", "16"),
    "ffv1-intra": Coding("ffv1", gop=1),
    "ffv1-gop12": Coding("ffv1", {"coder": "1", "context": "1", "level": "1"}, gop=12),
    "mjpeg": Coding("mjpeg", pixel_format="yuvj420p"),
    "prores": Coding("prores_ks", pixel_format="yuv422p10le", holder="mov"),
    "dnxhr": Coding("dnxhd", {"profile": "dnxhr_sq"}, pixel_format="yuv422p", size=(144, 256), holder="mov"),
    "huffyuv": Coding("huffyuv", pixel_format="yuv422p"),
    "ffvhuff": Coding("ffvhuff"),
    "magicyuv": Coding("magicyuv"),
    "png": Coding("png", pixel_format="rgb24"),
    "qtrle-gop12": Coding("qtrle", gop=12, pixel_format="rgb24", holder="mov"),
    "zmbv-gop12": Coding("zmbv", gop=12, pixel_format="bgr0"),
    "flashsv-gop12": Coding("flashsv", gop=12, pixel_format="bgr24"),
    "msvideo1-gop12": Coding("msvideo1", gop=12, pixel_format="rgb555le"),
    "cinepak-gop12": Coding("cinepak", gop=12, pixel_format="rgb24"),
    "gif": Coding("gif", pixel_format="rgb8"),
}


_CODECS = {"libx264": "h264", "libx265": "hevc", "libvpx": "vp8", "libvpx-vp9": "vp9", "libsvtav1": "av1"}
_CODECS |= {"flv": "flv1", "msmpeg4": "msmpeg4v3", "prores_ks": "prores", "h263p": "h263"}


def codec_of(name: str) -> str:
    """FFmpeg's canonical name of the stream's codec."""
    encoder = CODINGS[name].encoder
    return _CODECS.get(encoder, encoder)


_REFRESHING = ("h264-refresh",)  # marked as keys: pictures from which on the next ones heal column by column


@cache
def encoded(name: str, *, first: int = 0, size: tuple[int, int] | None = None) -> Stream:
    """The stream of that name, checked: the reference shows the pictures that its packets announce and nothing else.

    Its pictures are numbered from `first`, and have another (height, width) where `size` is given.
    """
    coding = replace(CODINGS[name], size=size) if size else CODINGS[name]
    holder = _encode(coding, first)
    with av.open(io.BytesIO(holder)) as container:
        video = container.streams.video[0]
        codec, extradata = video.codec_context.codec.canonical_name, video.codec_context.extradata or b""
        assert codec == codec_of(name), f"{name} is {codec}"
        raw = [(bytes(packet), packet.pts, packet.is_keyframe) for packet in container.demux(video) if packet.size]
    packets = _number_packets(raw, first, only_first_starts=name in _REFRESHING)
    pictures = _decode(holder)
    shown = [read_number(image) for image in pictures]
    if shown != list(range(first, first + NUM_PICTURES)):
        raise AssertionError(f"{name}: a plain decode of the untouched stream shows {shown}")
    if name == "vp8-hidden":
        packets = _hide_every_ninth(packets)
    return Stream(name, codec, packets, dict(enumerate(pictures, first)), extradata, holder)


def _encode(coding: Coding, first: int) -> bytes:
    target = io.BytesIO()
    with av.open(target, "w", format=coding.holder) as container:
        stream = container.add_stream(coding.encoder, rate=FPS, options=dict(coding.options))
        (stream.height, stream.width), stream.pix_fmt = coding.size, coding.pixel_format
        stream.codec_context.thread_count = 1
        if coding.gop is not None:
            stream.codec_context.gop_size = coding.gop
        if coding.b_frames is not None:
            stream.codec_context.max_b_frames = coding.b_frames
        for number in range(NUM_PICTURES):
            image = picture(first + number, height=coding.size[0], width=coding.size[1])
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return target.getvalue()


def _decode(holder: bytes) -> list[np.ndarray]:
    with av.open(io.BytesIO(holder)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        return [frame.to_ndarray(format="rgb24", threads=1) for frame in container.decode(video=0)]


def _number_packets(
    raw: list[tuple[bytes, int, bool]], first: int, *, only_first_starts: bool
) -> tuple[CodedPacket, ...]:
    """Packets numbered by the order of their timestamps, which are those that the encoder gave."""
    ranks = sorted(pts for _, pts, _ in raw)
    if len(set(ranks)) != NUM_PICTURES:
        raise AssertionError(f"{len(set(ranks))} timestamps for {NUM_PICTURES} pictures")
    return tuple(
        CodedPacket(data, first + ranks.index(pts), start=position == 0 or (key and not only_first_starts), key=key)
        for position, (data, pts, key) in enumerate(raw)
    )


def _hide_every_ninth(packets: tuple[CodedPacket, ...]) -> tuple[CodedPacket, ...]:
    """VP8 packets with show_frame (RFC 6386, 9.1: bit 4) cleared: pictures that others need and nobody sees."""
    hidden = [packet.number % 9 == 4 and not packet.key for packet in packets]
    return tuple(
        replace(packet, data=bytes([packet.data[0] & ~0x10]) + packet.data[1:], number=None) if hide else packet
        for packet, hide in zip(packets, hidden, strict=True)
    )
