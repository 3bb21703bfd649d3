"""What an AVI file's index tells of packets that are not there any more.

FFmpeg numbers the chunks of an AVI file as it meets them, so that behind a chunk whose head was overwritten every
picture would come one step too early. The index (idx1, or OpenDML's) says where each chunk lies and which number it
has:

    index      0  1  2  3  4        at 5754, 7742, 9990, ...
    met        0  1  .  2  3        chunk 2 has no head any more
    restamped  0  1  .  3  4
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

_HEAD_BYTES = 8  # a chunk's kind and size, which the index counts in and FFmpeg's packets do not
_PALETTE = b"pc"  # chunks that change colours are in the index and give no packet


def index_times(container: InputContainer, stream: VideoStream) -> dict[int, int]:
    """Return where a packet's bytes begin -> its time in ticks by the index; empty for other containers."""
    if "avi" not in container.format.name.split(","):
        return {}
    return {entry.pos + _HEAD_BYTES: entry.timestamp for entry in stream.index_entries}


def restamp(packet: av.Packet, times: dict[int, int]) -> None:
    """Move a packet's stamps to where the index has it."""
    time = times.get(packet.pos)
    if time is None or packet.dts is None or time == packet.dts:
        return
    shift = time - packet.dts
    packet.dts = time
    if packet.pts is not None:
        packet.pts += shift


def lost_by_index(
    path: str | os.PathLike, container: InputContainer, stream: VideoStream, dts: Sequence[int | None]
) -> dict[int, int]:
    """Packet -> how many that the index lists are missing behind it; `dts` are those of the packets, in file order."""
    times = index_times(container, stream)
    sizes = {entry.timestamp: entry.size for entry in stream.index_entries} if times else {}
    absent = {time: begin for begin, time in times.items() if sizes[time] and time not in set(dts)} if dts else {}
    lost: dict[int, int] = {}
    for time, begin in sorted(absent.items()):
        if not _is_palette(path, begin - _HEAD_BYTES):
            before = sum(1 for one in dts if one is not None and one < time)
            lost[max(before - 1, 0)] = lost.get(max(before - 1, 0), 0) + 1
    return lost


def _is_palette(path: str | os.PathLike, begin: int) -> bool:
    with Path(path).open("rb") as file:
        file.seek(begin)
        return file.read(4)[2:] == _PALETTE
