"""Is there more in a file than the one video that is read: another program of a broadcast, another file behind it?

Two recordings written one after the other (`cat a.ts b.ts`) are one file whose players show the first, or whichever
stream they take for the best, and say nothing. Programs that run side by side are a choice and no loss.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from tdn_data.pipeline.video.container import format_names
from tdn_data.pipeline.video.settings import find_foreign
from tdn_data.pipeline.video.structure import is_followed_by_another_movie

OTHER_PROGRAM = "the file holds another video program before or after this one, which is not read"
OTHER_FILE = "another file follows in this one, which is not read"

_PACKET_BYTES = (188, 192, 204)  # plain, with a time code before (M2TS), with error correction behind
_SYNC = 0x47
_BLOCK_PACKETS = 1 << 16
_SEARCHED_BYTES = 1 << 16  # for the next packet, where packets do not follow one another
_BEGINNINGS = {
    "flv": (b"FLV\1\1\0\0\0\x09\0\0\0\0", b"FLV\1\5\0\0\0\x09\0\0\0\0"),  # header of video, of video and sound
    "asf": (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"),),
}


def part_left_out(path: str | os.PathLike, container: InputContainer, stream: VideoStream) -> str | None:
    """What of a file is not read with `stream`, as a sentence for the ledger; None where nothing is known of any."""
    names = format_names(container)
    if "mpegts" in names:
        return OTHER_PROGRAM if _has_program_apart(path, stream.id) else None
    if find_foreign(path, container, stream) is not None:
        return OTHER_FILE
    if "mov" in names:
        return OTHER_FILE if is_followed_by_another_movie(path) else None
    beginnings = [beginning for name in names for beginning in _BEGINNINGS.get(name, ())]
    return OTHER_FILE if any(_comes_again(path, beginning) for beginning in beginnings) else None


def _comes_again(path: str | os.PathLike, beginning: bytes) -> bool:
    with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.rfind(beginning) > 0


def _has_program_apart(path: str | os.PathLike, own: int) -> bool:
    """Whether some video in a transport stream ends before that of PID `own` begins, or begins after its end."""
    extents: dict[int, tuple[int, int]] = {}
    data = np.memmap(path, dtype=np.uint8, mode="r")
    for position, packets in transport_packets(data):
        for number, pid in _video_beginnings(packets):
            at = position + number * packets.shape[1]
            extents[pid] = (extents.get(pid, (at, at))[0], at)
    if own not in extents:
        return False
    first, last = extents.pop(own)
    return any(other_last < first or other_first > last for other_first, other_last in extents.values())


def transport_packets(data: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Places and runs of packets, uint8 (N, bytes of a packet) from the sync byte on, wherever packets follow packets.

    Joined recordings need not continue at a multiple of a packet's length. The last packet of a file may lack what
    comes behind its 188 bytes.
    """
    position = 0
    while position < len(data):
        position, length = _next_packet(data, position)
        count = min((len(data) - position) // length, _BLOCK_PACKETS) if length else 0
        if not count and length and len(data) - position >= _PACKET_BYTES[0]:
            count, length = 1, _PACKET_BYTES[0]
        if not count:
            return
        packets = data[position : position + count * length].reshape(count, length)
        wrong = np.flatnonzero(packets[:, 0] != _SYNC)
        count = int(wrong[0]) if len(wrong) else count
        yield position, packets[:count]
        position += count * length


def _next_packet(data: np.ndarray, position: int) -> tuple[int, int]:
    """Where the next packet begins and how long packets are there; a length of 0 where none is found.

    Only right at `position` may fewer than three packets follow one another, at the end of the file.
    """
    searched = data[position : position + _SEARCHED_BYTES]
    for offset in np.flatnonzero(searched == _SYNC).tolist():
        for length in _PACKET_BYTES:
            syncs = data[position + offset :: length][:3]
            if (syncs == _SYNC).all() and (len(syncs) == 3 or offset == 0):
                return position + offset, length
    return position, 0


def _video_beginnings(packets: np.ndarray) -> Iterator[tuple[int, int]]:
    """Number and PID of each packet in which a video picture or access unit begins (ISO 13818-1, 2.4.3)."""
    for number in np.flatnonzero(packets[:, 1] & 0x40).tolist():
        packet = packets[number].tobytes()
        payload = 4 + (1 + packet[4] if packet[3] & 0x20 else 0)
        start = packet[payload : payload + 4]
        if start[:3] == b"\0\0\1" and (start[3:] == b"\xfd" or 0xE0 <= (start[3] if len(start) == 4 else 0) <= 0xEF):
            yield number, (packet[1] & 0x1F) << 8 | packet[2]
