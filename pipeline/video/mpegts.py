"""What an MPEG transport stream tells of pictures that are not whole: its packets are counted (ISO 13818-1, 2.4.3).

    0x47 1s ...   0x47 2 ...   0x47 4 ...   0x47 5s ...   0x47 6 .      number 3 is missing, the last has fewer bytes

A picture begins with a packet that says so (s here), and its last packet is filled up to the size of all. A hole in the
numbers inside a picture, or behind one whose last packet is full, means that a part of it is missing. A hole between
whole pictures may be a join: the number 0 at a picture for random access is taken for one. FFmpeg leaves a torn last
packet out, and gives all these pictures as if they were whole; of HEVC not even its decoder notices.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tdn_data.pipeline.video.joined import transport_packets

_SYNC = 0x47
_PACKET_BYTES = 188
_LENGTHS = (_PACKET_BYTES, 192, 204)  # plain, with a time code before (M2TS), with error correction behind
_NUM_PROOF = 8  # packets that must follow one another
_HEAD_BYTES = 4096
_H264_DELIMITER, _HEVC_DELIMITER = 0x09, 0x46  # units of two and three bytes in front of a picture
_PES_HEADER_BYTES = 9  # up to the length of what follows in the header
_TIMED_HEADER_BYTES = 14  # up to the end of the time in it
_MAX_HEADLESS = 20  # one in so many pictures; more are a stream that is put into packets otherwise
_NUMBERS = 16  # the counter's range
_PAYLOAD, _ADAPTATION = 1, 2  # what a packet holds: bytes of its stream, a field of its own before them


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
    for first in range(len(head)):
        for length in _LENGTHS if head[first] == _SYNC else ():
            syncs = head[first::length][:_NUM_PROOF]
            if len(syncs) > 1 and syncs.count(_SYNC) == len(syncs):
                return length, first
    return 0, 0


class TransportLosses(NamedTuple):
    """Pictures by their first bytes, as FFmpeg counts them."""

    torn: frozenset[int] = frozenset()  # lack a part
    apart: frozenset[int] = frozenset()  # are whole, and packets are missing right behind them
    stray: int | None = None  # the first byte behind the last packet
    headless: frozenset[int] = frozenset()  # where a picture was to begin and nothing of its codec does
    begun: frozenset[int] = frozenset()  # where any picture begins


def transport_losses(path: str | os.PathLike, pid: int, *, is_end_seen: bool) -> TransportLosses:
    """What the packets of stream `pid` tell.

    A packet with other bytes behind it than the next packet may have been shortened or pushed apart itself.
    `is_end_seen`: the decoder notices a picture without its end. Else a last packet that is full is taken for one: of
    whole files one in 184 ends so, of recordings that were stopped inside a picture nearly all do.
    """
    data = np.memmap(path, dtype=np.uint8, mode="r")
    length, _ = _packet_length(bytes(data[:_HEAD_BYTES]))
    if not length:
        return TransportLosses()
    places, heads, tears = _own_packets(data, pid)
    begins, holds, counts = heads[:, 1] & 0x40 > 0, heads[:, 3] >> 4 & 3, (heads[:, 3] & 15).astype(int)
    is_hole = np.diff(counts) % _NUMBERS > 1
    is_torn = np.isin(np.arange(len(places)), np.searchsorted(places, tears[:, 0], side="right") - 1)
    is_cut = np.isin(places + length, tears[:, 0])  # the packet right before a tear
    is_cut[:-1] |= (is_hole | is_torn[:-1]) & (~begins[1:] | (holds[:-1] == _PAYLOAD))
    is_cut |= begins & ~_have_start_codes(data, places, heads)
    is_cut[-1:] |= not is_end_seen and holds[-1:] == _PAYLOAD
    picture = np.maximum.accumulate(np.where(begins, np.arange(len(places)), -1))
    is_apart = is_torn[:-1] | (is_hole & ~_begins_anew(heads[1:]))
    behind = np.flatnonzero(~is_cut & np.append(is_apart, is_torn[-1:]))
    is_stray = tears[-1:, 1] - tears[-1:, 0] > length  # a torn packet has fewer bytes
    stray = int(tears[-1, 0]) if is_stray.any() and tears[-1, 1] == len(data) else None
    firsts = (_first_bytes(places, picture[at], length) for at in (np.flatnonzero(is_cut), behind))
    headless = _lack_their_head(data, places[begins], heads[begins])
    begun = places[begins] - (length - _PACKET_BYTES)
    is_new = _are_new(data, _contents(places[begins], heads[begins]))
    return TransportLosses(*firsts, stray, frozenset(begun[headless].tolist()), frozenset(begun[is_new].tolist()))


def _have_start_codes(data: np.ndarray, places: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """Behind which packets' heads 00 00 01 stands, as where a picture begins (2.4.3.6), bool (P,)."""
    return _are_start_codes(data, _contents(places, heads))


def _contents(places: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """The first byte behind each packet's head and the field that may follow it, int64 (P,)."""
    has_field = heads[:, 3] >> 4 & _ADAPTATION > 0
    return places + 4 + np.where(has_field, heads[:, 4].astype(np.int64) + 1, 0)


def _are_start_codes(data: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """At which of these bytes 00 00 01 stands, bool (P,)."""
    at = np.minimum(positions, len(data) - 3)
    return (data[at] == 0) & (data[at + 1] == 0) & (data[at + 2] == 1)


def _lack_their_head(data: np.ndarray, places: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """In which of the packets that begin a picture none stands behind the PES header (2.4.3.6), bool (P,).

    None in streams that do not put every picture into packets of its own, and where the header goes on in the next one.
    """
    contents = _contents(places, heads)
    header_end = np.minimum(contents + _PES_HEADER_BYTES - 1, len(data) - 1)
    begins = contents + _PES_HEADER_BYTES + data[header_end].astype(np.int64)
    is_seen = _are_start_codes(data, contents) & (begins + 4 <= np.minimum(places + _PACKET_BYTES, len(data)))
    lacks = is_seen & ~(_are_start_codes(data, begins) | _are_start_codes(data, begins + 1))
    units = begins + 3 + ~_are_start_codes(data, begins)  # the first bytes of units, and of what follows on a delimiter
    kinds = data[np.minimum(units, len(data) - 1)]
    following = units + np.where(kinds == _H264_DELIMITER, 2, 3)
    is_delimiter = is_seen & ~lacks & np.isin(kinds, (_H264_DELIMITER, _HEVC_DELIMITER))
    is_delimiter &= following + 4 <= np.minimum(places + _PACKET_BYTES, len(data))
    lacks |= is_delimiter & ~(_are_start_codes(data, following) | _are_start_codes(data, following + 1))
    return lacks if are_few(int(lacks.sum()), len(lacks)) else np.zeros(len(lacks), dtype=bool)


def _are_new(data: np.ndarray, contents: np.ndarray) -> np.ndarray:
    """Which PES headers, by their first bytes, are not that of the same picture come twice, bool (P,)."""
    headers = data[np.minimum(contents[:, None] + np.arange(_TIMED_HEADER_BYTES), len(data) - 1)]
    return np.append(np.ones(min(len(headers), 1), dtype=bool), (headers[1:] != headers[:-1]).any(axis=1))


def are_few(number: int, pictures: int) -> bool:
    """Whether so many of a stream's pictures may be damaged; more are put into packets in another way."""
    return number <= max(1, pictures // _MAX_HEADLESS)


def _begins_anew(heads: np.ndarray) -> np.ndarray:
    """Which packets look like the first of a recording, bool (P,): number 0, at a picture for random access."""
    fields = heads[:, 3] >> 4 & _ADAPTATION > 0
    return (heads[:, 3] & 15 == 0) & fields & (heads[:, 4] > 0) & (heads[:, 5] & 0x40 > 0)


def _first_bytes(places: np.ndarray, packets: np.ndarray, length: int) -> frozenset[int]:
    found = {int(places[packet]) for packet in packets if packet >= 0}
    return frozenset(place - shift for place in found for shift in {0, length - _PACKET_BYTES})


def _own_packets(data: np.ndarray, pid: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where each packet of a stream with something in it begins, int64 (P,), and its first six bytes (P, 6).

    And where something else than packets begins and ends, int64 (T, 2).
    """
    places, heads = [np.zeros(0, dtype=np.int64)], [np.zeros((0, 6), dtype=np.uint8)]
    tears, due = [], None
    for position, packets in transport_packets(data):
        head = packets[:, :6]
        is_own = ((head[:, 1] & 0x1F).astype(int) << 8 | head[:, 2]) == pid
        own = np.flatnonzero(is_own & (head[:, 3] >> 4 & _PAYLOAD > 0))
        places.append(position + own * packets.shape[1])
        heads.append(head[own])
        if due not in (None, position):
            tears.append((due, position))
        due = position + packets.size
    if due is not None and due < len(data):
        tears.append((due, len(data)))
    return np.concatenate(places), np.concatenate(heads), np.array(tears, dtype=np.int64).reshape(-1, 2)
