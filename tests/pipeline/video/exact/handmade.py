"""Streams that no encoder in PyAV makes: of two fields (see `fields`), and from the stored clips in `../clips`."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import av

from tests.pipeline.video.exact.fields import (
    decoding_order,
    h264_parameters,
    h264_picture,
    mpeg2_headers,
    mpeg2_picture,
)
from tests.pipeline.video.exact.pictures import read_number
from tests.pipeline.video.exact.streams import NUM_PICTURES, CodedPacket, Stream

CLIPS = Path(__file__).parent.parent / "clips"


@cache
def handmade(name: str) -> Stream:
    """The stream "paff", "mpeg2-fields", or that of a stored clip by its file's name."""
    if name == "paff":
        return _of_fields(name, "h264", h264_parameters(), b"", h264_picture)
    if name == "mpeg2-fields":
        return _of_fields(name, "mpeg2video", b"", mpeg2_headers(), mpeg2_picture)
    return _stored(name)


def _of_fields(name: str, codec: str, extradata: bytes, headers: bytes, code) -> Stream:
    packets = tuple(
        CodedPacket((headers if coded.kind == "I" else b"") + code(coded), coded.number, *(coded.kind == "I",) * 2)
        for coded in decoding_order(NUM_PICTURES)
    )
    holder = b"".join((extradata if packet.key else b"") + packet.data for packet in packets)
    return Stream(name, codec, packets, _reference(name, holder), extradata, holder)


def _stored(name: str) -> Stream:
    holder = (CLIPS / name).read_bytes()
    with av.open(io.BytesIO(holder)) as container:
        video = container.streams.video[0]
        context = video.codec_context
        raw = [(bytes(packet), packet.is_keyframe) for packet in container.demux(video) if packet.size]
        packets = tuple(CodedPacket(data, number, key, key) for number, (data, key) in enumerate(raw))
        return Stream(name, context.codec.canonical_name, packets, _reference(name, holder), context.extradata, holder)


def _reference(name: str, holder: bytes) -> dict:
    with av.open(io.BytesIO(holder)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        pictures = [frame.to_ndarray(format="rgb24", threads=1) for frame in container.decode(video=0)]
    shown = [read_number(image) for image in pictures]
    if shown != list(range(NUM_PICTURES)):
        raise AssertionError(f"{name}: a plain decode of the untouched stream shows {shown}")
    return dict(enumerate(pictures))
