"""Where in a file another one begins whose pictures the decoder of the first cannot take.

FFmpeg reads on behind the end of a Matroska or fragmented MP4 file to which another was joined, and hands its packets
to the decoder that the first header set up. Those of other settings come out as rubbish that nothing marks. In NUT and
IVF it takes the second header itself for packets, and may never find its way again; the pictures of a second GIF it
draws over the last one of the first.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import BinaryIO, NamedTuple

from av.container import InputContainer
from av.video.stream import VideoStream

from tdn_data.pipeline.video.container import format_names
from tdn_data.pipeline.video.matroska import (
    CODEC_ID,
    CODEC_PRIVATE,
    CONTENT_ENCODINGS,
    PIXEL_HEIGHT,
    PIXEL_WIDTH,
    VIDEO,
    elements,
    following_headers,
    video_tracks,
)
from tdn_data.pipeline.video.structure import decode_time, movies_and_fragments, track_entry
from tdn_data.pipeline.video.unannounced import gif_end

_GIF_HEADS = (b"GIF87a", b"GIF89a")
_MISREAD = {"nut": b"nut/multimedia container\0", "ivf": b"DKIF\0\0\x20\0"}  # how such files begin


class Foreign(NamedTuple):
    """The first byte of a joined file of which no packet is to be decoded, and whether FFmpeg finds its packets."""

    begin: int
    is_known: bool = True


def find_foreign(path: str | os.PathLike, container: InputContainer, stream: VideoStream) -> Foreign | None:
    """The first joined file whose packets the decoder of `stream` cannot take; None where there is none."""
    names = format_names(container)
    if "mov" in names:
        begin = _foreign_fragments(path, stream.id)
        return None if begin is None else Foreign(begin)
    with Path(path).open("rb") as file:
        if "gif" in names:
            begin = gif_end(path)
            file.seek(begin or 0)
            return Foreign(begin, is_known=False) if begin and file.read(len(_GIF_HEADS[0])) in _GIF_HEADS else None
        if "matroska" in names:
            begin = _foreign_matroska(file, container.streams.video.index(stream))
            return None if begin is None else Foreign(begin)
        for name in names & _MISREAD.keys():
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                begin = data.find(_MISREAD[name], 1)
                return Foreign(begin, is_known=False) if begin > 0 else None
    return None


def _foreign_fragments(path: str | os.PathLike, track: int) -> int | None:
    """Where fragments begin, with a header of their own, of another codec setup or that go back in time.

    FFmpeg drops the pictures of a fragment that goes back in time, and no others of its file.
    """
    own, header, last_ticks = b"", 0, -1
    for kind, begin, content in movies_and_fragments(path):
        ticks = decode_time(content, track) if kind == b"moof" else None
        if kind == b"moov":
            own, header, is_new = own or track_entry(content, track), begin, bool(own)
            if track_entry(content, track) != own:
                return begin
        elif ticks is not None:
            if is_new and ticks <= last_ticks:
                return header
            last_ticks, is_new = ticks, False
    return None


def _foreign_matroska(file: BinaryIO, place: int) -> int | None:
    own: tuple | None = None
    for begin in following_headers(file):
        own = own or _decoder_settings(file, 0, place)
        if _decoder_settings(file, begin, place) != own:
            return begin
    return None


def _decoder_settings(file: BinaryIO, begin: int, place: int) -> tuple:
    """What a Matroska file that begins at byte `begin` tells the decoder of its video track number `place`."""
    track = next(iter(video_tracks(file, begin)[place:]), {})
    video = dict(elements(track.get(VIDEO, b"")))
    given = (track.get(identifier) for identifier in (CODEC_ID, CODEC_PRIVATE, CONTENT_ENCODINGS))
    return (*given, video.get(PIXEL_WIDTH), video.get(PIXEL_HEIGHT))
