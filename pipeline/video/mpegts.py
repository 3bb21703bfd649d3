"""Does an MPEG transport stream end inside one of its packets? (ISO 13818-1, 2.4.3)

    0x47 ...   0x47 ...   0x47 ...   0x47 .      the last has fewer bytes than the others: the file was cut off

FFmpeg leaves the last out, and gives a picture whose end was in it as if it were whole.
"""

from __future__ import annotations

import os
from pathlib import Path

_SYNC = 0x47
_LENGTHS = (188, 192, 204)  # plain, with a time code before (M2TS), with error correction behind
_NUM_PROOF = 8  # packets that must follow one another
_HEAD_BYTES = 4096


def torn_end(path: str | os.PathLike, pid: int) -> bool | None:
    """Whether a file's torn last packet belongs to the last picture of stream `pid`; None for a whole last packet.

    Of files whose packets do not follow one another to the end, nothing is known: None.
    """
    with Path(path).open("rb") as file:
        head, num_bytes = file.read(_HEAD_BYTES), os.fstat(file.fileno()).st_size
        length, first = _packet_length(head)
        if not length:
            return None
        num_whole, num_left = divmod(num_bytes - first, length)
        begin = max(num_whole - _NUM_PROOF, 0)
        file.seek(first + begin * length)
        tail = file.read()
    syncs = tail[::length]
    if num_left in (0, *range(_LENGTHS[0], length)) or syncs.count(_SYNC) < len(syncs):
        return None
    torn = tail[(num_whole - begin) * length :]
    if len(torn) < 3:
        return True
    begins_picture = bool(torn[1] & 0x40)
    return (torn[1] & 0x1F) << 8 | torn[2] == pid and not begins_picture


def _packet_length(head: bytes) -> tuple[int, int]:
    """Bytes from one packet to the next and where the first sync byte is; zeros where there is no such length."""
    for first in range(min(len(head), max(_LENGTHS))):
        for length in _LENGTHS if head[first] == _SYNC else ():
            syncs = head[first::length][:_NUM_PROOF]
            if len(syncs) > 1 and syncs.count(_SYNC) == len(syncs):
                return length, first
    return 0, 0
