"""What happens to files on their way: packets lost, emptied, spoiled or doubled, files cut off and headers that lie.

Each damage says which pictures nobody can have any more ("lost"), and which depend on what is gone ("doubtful": they
may come out if they are right to the bit, and may be missing). All the rest must come.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import av

from tests.pipeline.video.exact.files import Container, Plan, Stamped
from tests.pipeline.video.exact.streams import Stream

PacketDamage = Callable[[list[Stamped], random.Random], list[Stamped]]


def _doubt(packets: Sequence[Stamped], first: int, last: int) -> list[Stamped]:
    """Marks what may depend on packets `first` .. `last`: all up to the next start, and what is shown before that.

    Where pictures are reordered, those before the loss count as well, back to the start before: which of them are
    predicted from what is gone no header tells.
    """
    shown = [entry.number for entry in packets if entry.number is not None]
    if shown != sorted(shown):
        first = max((at for at in range(first) if packets[at].packet.start), default=0) + 1 if first else first
    starts = [later for later in range(last + 1, len(packets)) if packets[later].packet.start]
    end = starts[0] if starts else len(packets)
    limit = packets[end].number if starts else -1
    return [
        replace(entry, state="doubtful")
        if first <= at < end or (at > end and entry.number is not None and entry.number < limit)
        else entry
        for at, entry in enumerate(packets)
    ]


def _delete(share: float, count: int = 1) -> PacketDamage:
    def act(packets: list[Stamped], _: random.Random) -> list[Stamped]:
        first = _at(packets, share)
        return _remove(packets, first, min(first + count, len(packets)))

    return act


def _headless(count: int) -> PacketDamage:
    """The file begins in the middle: what comes before the next start cannot be had."""
    return lambda packets, _: _remove(packets, 0, count)


def _remove(packets: list[Stamped], first: int, end: int) -> list[Stamped]:
    packets = _doubt(packets, first, end - 1)
    return [replace(entry, state="gone") if first <= at < end else entry for at, entry in enumerate(packets)]


@dataclass(frozen=True)
class _Spoiling:
    """One packet's bytes become others of the same number, in the file itself where they lie there in one piece."""

    share: float
    change: Callable[[bytes, random.Random], bytes]
    state: str

    def before(self, packets: list[Stamped], generator: random.Random) -> list[Stamped]:
        place = _at(packets, self.share)
        packets = self.mark(packets, generator)
        spoiled = self.change(packets[place].packet.data, generator)
        packets[place] = replace(packets[place], packet=replace(packets[place].packet, data=spoiled))
        return packets

    def mark(self, packets: list[Stamped], _: random.Random) -> list[Stamped]:
        place = _at(packets, self.share)
        packets = _doubt(packets, place, place)
        packets[place] = replace(packets[place], state=self.state)
        return packets

    def after(self, path: Path, generator: random.Random) -> None:
        with av.open(f"file:{path}") as container:
            video = container.streams.video[0]
            packets = [(packet.pos or 0, bytes(packet)) for packet in container.demux(video) if packet.size]
        near, payload = packets[_at(packets, self.share)]
        content = path.read_bytes()
        begin = content.find(payload, near)
        if begin < 0:
            raise AssertionError(f"{path}: the packet's {len(payload)} bytes are not in the file in one piece")
        end = begin + len(payload)
        path.write_bytes(content[:begin] + self.change(payload, generator) + content[end:])


def _at(packets: Sequence[object], share: float) -> int:
    return min(int(share * len(packets)), len(packets) - 1)


def _zero(data: bytes, _: random.Random) -> bytes:
    return bytes(len(data))


def _fill(data: bytes, _: random.Random) -> bytes:
    return b"\xff" * len(data)


def _flip(data: bytes, generator: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(3):
        changed[generator.randrange(len(changed) // 3, len(changed))] ^= 1 << generator.randrange(8)
    return bytes(changed)


def _shorten(data: bytes, _: random.Random) -> bytes:
    return data[: max(len(data) // 2, 1)] + bytes(len(data) - max(len(data) // 2, 1))


def _cut(share: float) -> Callable[[Path, Stream, Container, Plan], Plan]:
    def act(path: Path, stream: Stream, container: Container, plan: Plan) -> Plan:
        content = path.read_bytes()
        position = int(len(content) * share)
        places = _places(path)
        path.write_bytes(content[:position])
        if container.name in ("mp4end", "3gp"):
            return replace(plan, lost=frozenset(plan.numbers), unreadable=("truncated",))
        whole = [end <= position for _, end in places]
        survivors = sum(whole)
        coded = [packet.number for packet in stream.packets if packet.number is not None]
        if len(places) != len(stream.packets):  # a parser cuts the packets again
            raise AssertionError(f"{path}: {len(places)} packets, {len(stream.packets)} were written")
        shown_survivors = sum(packet.number is not None for packet in stream.packets[:survivors])
        kept, torn, gone = (
            coded[:shown_survivors],
            coded[shown_survivors : shown_survivors + 1],
            coded[shown_survivors + 1 :],
        )
        first_missing = min((*torn, *gone), default=len(coded))
        doubtful = {number for number in kept if number > first_missing} | set(torn)
        return replace(
            plan,
            lost=plan.lost | set(gone),
            doubtful=plan.doubtful | doubtful,
            evident=container.announces,
            silent=plan.silent or not container.announces,  # the torn packet may decode to something
            timed=False,
            unreadable=("truncated", "unreadable", "no_frames", "corrupt") if share < 0.2 else (),
        )

    return act


def _double(share: float) -> Callable[[Path, Stream, Container, Plan], Plan]:
    """The bytes of a packet come twice, as recordings of broken transmissions have it."""

    def act(path: Path, stream: Stream, container: Container, plan: Plan) -> Plan:
        content, places = path.read_bytes(), _places(path)
        begin, end = places[int(share * len(places))]
        path.write_bytes(content[:end] + content[begin:end] + content[end:])
        return plan

    return act


_Change = Callable[[bytes, int, int, random.Random], bytes]  # of a file with a packet from one byte to another


def _disturb(share: float, change: _Change) -> Callable[[Path, Stream, Container, Plan], Plan]:
    """Bytes of the finished file are others around one packet, wherever its container has its own heads and marks.

    What may be spoiled is the groups of the packet and of the one before it, in a program stream those of all pictures
    that share its parts.
    """

    def act(path: Path, stream: Stream, container: Container, plan: Plan) -> Plan:
        content, places = path.read_bytes(), _places(path)
        place = _at(places, share)
        path.write_bytes(change(content, *places[place], random.Random(f"{path.name} {share}")))
        starts = [at for at, packet in enumerate(stream.packets) if packet.start]
        shared = _MAX_SHARED if container.name in ("mpg", "vob") else 0
        first = max(at for at in starts if at < max(place - shared, 1))
        to_end = change is _zeros_to_end or container.name in (
            "ivf",
            "frag",
            "dash",
        )  # FFmpeg may not find its way again
        end = next((at for at in starts if at > place + 2 + shared and not to_end), len(stream.packets))
        limit = stream.packets[end].number if end < len(stream.packets) else 0
        doubtful = {packet.number for packet in stream.packets[first:end]}
        doubtful |= {
            packet.number for packet in stream.packets[end:] if packet.number is not None and packet.number < limit
        }
        return replace(
            plan,
            doubtful=frozenset(doubtful - {None}),
            reported=True,
            evident=False,
            replaced=to_end or not plan.exact_end,
            headless=True,
            from_first=first == 0 and not container.announces,
            unreadable=("truncated", "corrupt", "no_frames")
            if first == 0
            else ("unreadable",)
            if shared and to_end
            else (),
        )

    return act


def _push_in_zeros(content: bytes, begin: int, end: int, _: random.Random) -> bytes:
    return content[: (begin + end) // 2] + bytes(700) + content[(begin + end) // 2 :]


def _push_in_random(content: bytes, begin: int, end: int, generator: random.Random) -> bytes:
    return content[: (begin + end) // 2] + generator.randbytes(700) + content[(begin + end) // 2 :]


def _take_out(content: bytes, begin: int, end: int, _: random.Random) -> bytes:
    return content[: (begin + end) // 2] + content[(begin + end) // 2 + 400 :]


def _twice(content: bytes, begin: int, end: int, _: random.Random) -> bytes:
    return content[: begin + 900] + content[begin - 900 : begin + 900] + content[begin + 900 :]


def _zeros_to_end(content: bytes, begin: int, end: int, _: random.Random) -> bytes:
    return content[: (begin + end) // 2] + bytes(len(content) - (begin + end) // 2)


def _places(path: Path) -> list[tuple[int, int]]:
    """(first byte, byte after the last) of each video packet; where only begins are known, up to the next begin.

    What lies in pieces and has no place of its own is taken to begin right behind the one before it.
    """
    content, packets = path.read_bytes(), []
    with av.open(f"file:{path}") as container:
        video = container.streams.video[0].index
        for packet in container.demux():
            if packet.size:
                before = packets[-1][0] if packets else -1
                position = content.find(bytes(packet)) if packet.pos is None else packet.pos
                packets.append((position if position >= 0 else before + 1, packet.stream_index == video))
    begins = sorted(position for position, _ in packets)
    ends = [*begins[1:], len(content)]
    end_of = dict(zip(begins, ends, strict=True))
    return [(position, end_of[position]) for position, is_video in packets if is_video]


@dataclass(frozen=True)
class Damage:
    """`packets` acts before muxing, `file` on the finished file."""

    name: str
    packets: PacketDamage | None = None
    file: Callable[[Path, Stream, Container, Plan], Plan] | None = None
    spoiling: _Spoiling | None = None
    headless: bool = False  # the beginning is gone
    tells: str = "always"  # who can tell: "numbered": where the codec numbers its pictures; "nobody"
    only: tuple[str, ...] = ()  # containers that it makes sense for; none: all


_MAX_SHARED = 8  # pictures in one part of a program stream, and the one behind it
_FOLLOWED = (
    "ts",
    "m2ts",
    "flv",
    "ivf",
    "frag",
    "dash",
    "mpg",
    "vob",
)  # containers whose heads and marks tell of any other bytes

DAMAGES = {
    damage.name: damage
    for damage in (
        Damage("intact"),
        *(Damage(f"cut{share}", file=_cut(share)) for share in (0.15, 0.4, 0.55, 0.7, 0.85, 0.95, 0.99)),
        *(Damage(f"del{share}", _delete(share), tells="numbered")
          for share in (0.05, 0.3, 0.34, 0.5, 0.52, 0.7, 0.95)),
        *(Damage(f"lose{count}", _delete(0.4, count), tells="numbered") for count in (3, 15)),
        *(Damage(f"zero{share}", spoiling=_Spoiling(share, _zero, "lost"), headless=share == 0)
          for share in (0.0, 0.3, 0.52, 0.97)),
        *(Damage(f"fill{share}", spoiling=_Spoiling(share, _fill, "lost"), headless=share == 0)
          for share in (0.0, 0.3, 0.52, 0.97)),
        *(Damage(f"half{share}", spoiling=_Spoiling(share, _shorten, "doubtful"), tells="nobody")
          for share in (0.3, 0.52, 0.97)),
        *(Damage(f"flip{share}", spoiling=_Spoiling(share, _flip, "doubtful"), tells="nobody")
          for share in (0.1, 0.3, 0.52, 0.8)),
        *(Damage(f"dup{share}", file=_double(share), only=("ts", "flv")) for share in (0.0, 0.3, 0.52, 0.97)),
        *(Damage(f"{name}{share}", file=_disturb(share, change), only=_FOLLOWED)
          for name, change in (("zerosin", _push_in_zeros), ("randomin", _push_in_random), ("out", _take_out),
                               ("twice", _twice), ("zerosto", _zeros_to_end))
          for share in (0.4, 0.7)),
        Damage("zerosto0.98", file=_disturb(0.98, _zeros_to_end), only=_FOLLOWED),
        *(Damage(f"headless{count}", _headless(count), headless=True) for count in (1, 5, 13)),
    )
}  # fmt: skip
