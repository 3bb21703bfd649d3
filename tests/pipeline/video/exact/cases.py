"""Cases: one stream in one container with one timing, flags and damage, each with a name that makes it again.

h264-b2-gop12 : mkv : ptsdts : own : cut0.7
stream          container timing flags damage
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from tests.pipeline.video.exact.damage import DAMAGES
from tests.pipeline.video.exact.files import (
    CONTAINERS,
    EDIT_LISTS,
    TIMINGS,
    Container,
    Plan,
    Stamped,
    Timing,
    make_plan,
    stamp,
    write,
)
from tests.pipeline.video.exact.streams import CODINGS, Stream, codec_of, encoded

_DISTURBANCES = frozenset(
    name for name in DAMAGES if name.startswith(("zerosin", "randomin", "out", "twice", "zerosto"))
)
FLAGS = ("own", "all", "none")
_INDEXED = ("mp4", "mp4end", "mov", "3gp", "avi", "mkv", "webm", "flv", "nut")  # keep flags of keys

# (stream, container, timing, flags, damage), * for any: what muxers refuse, or FFmpeg itself shows otherwise.
_IMPOSSIBLE = (
    ("vp8-hidden", "avi", "*", "*", "*"),
    ("vp8-hidden", "ivf", "*", "*", "*"),
    ("gif", "gif", "ntsc", "*", "*"),
    ("gif", "gif", "fast", "*", "*"),
    ("*", "nut", "edit", "*", "*"),
    ("*", "flv", "edit", "*", "*"),
    ("*", "mxf", "*", "*", "headless*"),
    ("mpeg1-b2-gop12", "*", "edit", "*", "*"),  # FFmpeg itself shows a picture that the edit list cuts away
    ("*", "*", "edit", "all", "*"),  # FFmpeg never reads what such a file has before the first "key" shown
    ("*", "m*", "edit", "*", "cut*"),  # packets before the edit are not given, so that nothing can be counted
    ("*", "mov", "pause", "all", "*"),  # FFmpeg takes such a file's edit list to end earlier
    ("*", "mp4*", "pause", "all", "*"),
    ("*", "3gp", "pause", "all", "*"),
    ("*", "ivf", "*", "*", "headless*"),
    ("*", "avi", "*", "*", "headless*"),  # the muxer writes the first picture at zero, and fills up behind it
    ("*", "asf", "*", "*", "fill*"),  # cuts packets into pieces
    ("*", "asf", "*", "*", "zero*"),
    ("*", "asf", "*", "*", "half*"),
    ("*", "asf", "*", "*", "flip*"),
    ("png", "*", "*", "none", "*"),  # FFmpeg takes PNG pictures that are no keys for differences
)


@dataclass(frozen=True)
class Case:
    """The names of its parts."""

    stream: str
    container: str
    timing: str = "cfr"
    flags: str = "own"
    damage: str = "intact"

    def __str__(self) -> str:
        return ":".join((self.stream, self.container, self.timing, self.flags, self.damage))

    @classmethod
    def parse(cls, name: str) -> Case:
        """The case of that name."""
        return cls(*name.split(":"))


def every_case() -> Iterator[Case]:
    """All combinations that can be made, about 100,000."""
    for stream in CODINGS:
        for container in CONTAINERS.values():
            if codec_of(stream) not in container.codecs:
                continue
            for timing in TIMINGS.values():
                if not _fits(container, timing):
                    continue
                for flags in FLAGS if container.name in _INDEXED else FLAGS[:1]:
                    for damage in DAMAGES.values():
                        case = Case(stream, container.name, timing.name, flags, damage.name)
                        if _makes_sense(case) and not _is_impossible(case):
                            yield case


def choose(number: int, seed: int = 0) -> list[Case]:
    """So many cases of all, chosen so that each value of each part comes about equally often."""
    generator = random.Random(seed)
    cases = list(every_case())
    generator.shuffle(cases)
    seen: dict[tuple[str, str], int] = {}
    chosen: list[Case] = []
    window = 40
    while cases and len(chosen) < number:
        candidates = range(max(len(cases) - window, 0), len(cases))
        best = min(candidates, key=lambda at: sum(seen.get(part, 0) * weight for part, weight in _parts(cases[at])))
        case = cases.pop(best)
        for part, _ in _parts(case):
            seen[part] = seen.get(part, 0) + 1
        chosen.append(case)
    return chosen


def _parts(case: Case) -> tuple[tuple[tuple[str, str], float], ...]:
    return (
        (("stream", case.stream), 3.0),
        (("container", case.container), 1.5),
        (("timing", case.timing), 1.0),
        (("flags", case.flags), 0.1),
        (("damage", case.damage), 1.5 if case.damage != "intact" else 0.1),
        (("pair", f"{codec_of(case.stream)} {case.container}"), 4.0),
    )


def _fits(container: Container, timing: Timing) -> bool:
    if container.regular and not timing.regular:
        return False
    if container.steady and not timing.steady:
        return False
    return container.audio is not None or not timing.audio


def _makes_sense(case: Case) -> bool:
    """Whether it is known what is due after the damage."""
    container, timing, damage = CONTAINERS[case.container], TIMINGS[case.timing], DAMAGES[case.damage]
    if damage.only and container.name not in damage.only:
        return False
    if damage.name == "intact":
        return True
    if damage.name in _DISTURBANCES and timing.name in ("wrap", "slow"):
        return False
    if damage.name in _DISTURBANCES and container.name == "vob" and codec_of(case.stream) == "h264":
        return False  # one picture in several has a time
    if damage.name in _DISTURBANCES and container.name in ("frag", "dash") and not timing.regular:
        return False  # how long the last picture before the end stays is not known
    if timing.name == "pause" and container.name in _STAMPING:
        return False  # a hole of a hundred pictures may be a loss or not
    bare = container.steady and container.regular and not container.announces
    if bare and not damage.name.startswith(("flip", "cut")):
        return False  # a bare stream has no times: what comes after a loss moves
    if timing.name == "edit" and container.name not in EDIT_LISTS:
        return False  # stamps below zero are not stored as they are
    if case.flags == "none" and codec_of(case.stream) not in _READABLE:
        return False  # nothing tells where decoding can go on
    # Times in the order of decoding move to other pictures where a packet is gone.
    moved = timing.stamps == "decode" or container.steady or container.name == "avi"
    return not (moved and CODINGS[case.stream].reorders) or damage.name.startswith(("flip", "cut"))


def _is_impossible(case: Case) -> bool:
    names = (case.stream, case.container, case.timing, case.flags, case.damage)
    return bool(frozenset.intersection(*map(_rules_that_fit, range(len(names)), names)))


@cache
def _rules_that_fit(place: int, name: str) -> frozenset[int]:
    """The numbers of the rules of `_IMPOSSIBLE` whose pattern at `place` fits the name of a case's part."""
    return frozenset(number for number, rule in enumerate(_IMPOSSIBLE) if fnmatchcase(name, rule[place]))


def make(case: Case, folder: Path, stream: Stream | None = None) -> tuple[Path, Stream, Plan]:
    """Write the file of a case into `folder`: its path, its stream and what is due from it.

    `stream` is that of the case's name by default.
    """
    stream, container, timing = stream or encoded(case.stream), CONTAINERS[case.container], TIMINGS[case.timing]
    damage, generator = DAMAGES[case.damage], random.Random(str(case))
    plan, packets = make_plan(stream, container, timing), stamp(stream, timing)
    act, spoiling = damage.packets, damage.spoiling
    if spoiling is not None:
        act = spoiling.before if container.in_band else spoiling.mark
    if act is not None:
        packets = act(packets, generator)
        plan = _damaged(plan, packets, case, stream)
        packets = [entry for entry in packets if entry.state != "gone"]
    path = folder / f"clip{container.suffix}"
    write(path, stream, container, timing, packets, flags=case.flags)
    if spoiling is not None and not container.in_band:
        spoiling.after(path, generator)
    if damage.file is not None:
        plan = damage.file(path, stream, container, plan)
    return path, stream, plan


def _damaged(plan: Plan, packets: list[Stamped], case: Case, stream: Stream) -> Plan:
    damage, container = DAMAGES[case.damage], CONTAINERS[case.container]
    evident = _is_evident(case, packets, stream)
    return replace(
        plan,
        lost=_numbers(packets, "gone", "lost"),
        doubtful=_numbers(packets, "doubtful"),
        evident=evident,
        from_first=damage.headless
        and (not container.announces or damage.name.startswith("headless"))
        and not (damage.spoiling is not None and stream.codec in _PLAIN),
        noted=damage.tells == "numbered"
        and stream.codec not in _NUMBERING
        and container.name in _STAMPING
        and _has_plain_holes(TIMINGS[case.timing]),
        timed=damage.tells != "nobody",
        replaced=damage.tells == "numbered" and not _has_plain_holes(TIMINGS[case.timing]),
        silent=damage.tells == "nobody"
        or (damage.spoiling is not None and stream.codec in _PLAIN)
        or not (evident or stream.codec in _INDEPENDENT or damage.headless),
    )


_READABLE = ("h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4", "h263", "flv1", "vp8", "vp9")  # say what is a key
_INDEPENDENT = ("mjpeg", "prores", "dnxhd", "huffyuv", "ffvhuff", "magicyuv", "png")  # every picture by itself
_PLAIN = (
    "huffyuv",
    "ffvhuff",
    "magicyuv",
    "svq1",
    "cinepak",
    "msvideo1",
    "flashsv",
    "zmbv",
    "qtrle",
    "gif",
    "asv1",
    "h261",
)  # any bytes are a picture to them
_STAMPING = ("mkv", "webm", "ts", "m2ts", "flv", "nut")  # store each picture's time and not how long it stays
_NUMBERING = ("h264", "hevc", "mpeg1video", "mpeg2video")  # a picture that is missing leaves a hole in the numbers


def _is_evident(case: Case, packets: list[Stamped], stream: Stream) -> bool:
    """Whether the file itself tells that something is lost."""
    damage, container, timing = DAMAGES[case.damage], CONTAINERS[case.container], TIMINGS[case.timing]
    if damage.spoiling is not None and stream.codec in _PLAIN:
        return False
    if damage.tells == "numbered":  # by a hole in a steady rate, or in the numbers of pictures that others need
        if container.name in _STAMPING and _has_plain_holes(timing) and stream.codec in _NUMBERING:
            return True
        if damage.name == "lose15" and stream.codec != "h264":
            return False  # a whole group: the numbers begin again
        if stream.codec not in _NUMBERING:
            return False
        needed = any(entry.state == "gone" and not _is_b(entry, packets) for entry in packets)
        return needed and any(entry.state == "doubtful" for entry in packets)
    if damage.headless:
        return container.announces and not damage.name.startswith("headless")
    return damage.tells == "always"


def _has_plain_holes(timing: Timing) -> bool:
    """Whether a steady rate shows in stamps of whole milliseconds."""
    return (timing.regular or timing.steady) and timing.name != "fast"


def _is_b(entry: Stamped, packets: list[Stamped]) -> bool:
    """Whether a picture that comes earlier in the file is shown later."""
    before = packets[: packets.index(entry)]
    return any(other.number is not None and other.number > entry.number for other in before)


def _numbers(packets: list[Stamped], *states: str) -> frozenset[int]:
    return frozenset(entry.number for entry in packets if entry.state in states and entry.number is not None)


__all__ = ["Case", "Container", "choose", "every_case", "make"]
