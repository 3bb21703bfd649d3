"""MPEG-4 as DivX 5 packed it for AVI: a picture and the B picture that is shown before it in one packet.

Such streams have no decoding delay: behind each full packet comes a placeholder, an N-VOP of a few bits that says
"nothing coded" (ISO 14496-2, 6.2.5), in the place of the B picture.

    coded     I0  P2  b1  P4  b3          packets   [I0] [P2 b1] [N] [P4 b3] [N]
"""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av

from tests.pipeline.video.exact.pictures import HEIGHT, WIDTH, picture

_DIVX = b"\0\0\1\xb2DivX503b1393p"  # user data by which decoders know packed streams
_PLACEHOLDER = bytes.fromhex("000001b6") + bytes([0b01_0_1_0000, 0b0_1_0_11111])  # P, time 0 of 25, nothing coded
_VOP = b"\0\0\1\xb6"


def write_packed(path: Path, *, num_pictures: int, fps: int = 25) -> None:
    """An AVI of numbered pictures, I and P in turn with one B picture between them, in groups of 12."""
    packets = _coded(num_pictures, fps)
    joined: list[bytes] = []
    for data in packets:
        if data[data.index(_VOP) + 4] >> 6 == 2:
            joined[-1] += data
            joined.append(_PLACEHOLDER)
        else:
            joined.append(data)
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=fps)
        video.height, video.width, video.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        container.start_encoding()
        for number, data in enumerate(joined):
            packet = av.Packet(data)
            packet.pts = packet.dts = number
            packet.time_base, packet.stream = Fraction(1, fps), video
            packet.is_keyframe = data[data.index(_VOP) + 4] >> 6 == 0
            container.mux(packet)


def _coded(num_pictures: int, fps: int) -> list[bytes]:
    """Packets of MPEG-4 in decoding order, with the headers of a packed stream before the first."""
    target = io.BytesIO()
    with av.open(target, "w", format="m4v") as container:
        video = container.add_stream("mpeg4", rate=fps, options={"b": "4M"})
        video.height, video.width, video.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        video.codec_context.max_b_frames, video.codec_context.gop_size = 1, 12
        packets = []
        for number in range(num_pictures):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            packets += video.encode(frame)
        packets += video.encode(None)
    coded = [bytes(packet) for packet in packets]
    place = coded[0].index(b"\0\0\1\xb2") if b"\0\0\1\xb2" in coded[0] else coded[0].index(_VOP)
    end = coded[0].index(b"\0\0\1", place + 3) if b"\0\0\1\xb2" in coded[0] else place
    coded[0] = coded[0][:place] + _DIVX + coded[0][end:]
    return coded
