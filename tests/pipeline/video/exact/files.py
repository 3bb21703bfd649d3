"""Streams of numbered pictures put into containers, stamped in every way that is seen in the wild.

`write` gives a file and its plan: which number is on screen at which time. The plan follows from what was put in, never
from reading the file back.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.pipeline.video.exact.streams import CodedPacket, Stream

AUDIO_RATE = 8000


@dataclass(frozen=True)
class Container:
    """One way of keeping streams. `tick` is the grid its timestamps are rounded to, None for the timing's own."""

    name: str
    suffix: str
    format: str
    codecs: tuple[str, ...]
    tick: Fraction | None = None
    options: dict[str, str] = field(default_factory=dict)
    in_band: bool = False  # parameter sets travel with the pictures
    regular: bool = False  # knows a rate only: no late start, no varying rate
    audio: str | None = None  # a sound codec that it takes
    announces: bool = True  # says how long it is or how many pictures there are
    steady: bool = False  # only 25 pictures per second: it keeps no rate, or FFmpeg reads the bitstream's
    clock: Fraction | None = None  # pictures carry their places on a clock of that tick, rounded down


_MILLISECOND = Fraction(1, 1000)
_CIF_CLOCK = Fraction(1001, 30000)  # ITU-T H.261, 3.1
_OLD = ("h263", "flv1", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2")
_LOSSLESS = ("ffv1", "huffyuv", "ffvhuff", "magicyuv", "png")
_SCREEN = ("zmbv", "flashsv", "msvideo1", "cinepak")
_MPEG = ("mpeg1video", "mpeg2video", "mpeg4")
_NEW = ("h264", "hevc")
_FREE = ("vp8", "vp9", "av1")
_EVERY = (*_NEW, *_MPEG, *_OLD, *_FREE, *_LOSSLESS, *_SCREEN, "mjpeg", "h261", "svq1", "snow")

CONTAINERS = {
    container.name: container
    for container in (
        Container("mp4", ".mp4", "mp4", (*_NEW, *_MPEG, "vp9", "av1", "mjpeg", "png"), audio="mp2",
                  options={"movflags": "faststart"}),
        Container("mp4end", ".mp4", "mp4", (*_NEW, "mpeg4"), audio="mp2"),
        Container("frag", ".mp4", "mp4", (*_NEW, "mpeg4", "vp9", "av1"), announces=False,
                  options={"movflags": "frag_keyframe+empty_moov+default_base_moof"}),
        Container("dash", ".mp4", "mp4", (*_NEW, "vp9", "av1"),
                  options={"movflags": "frag_keyframe+dash+global_sidx"}),
        Container("mov", ".mov", "mov", (*_NEW, *_MPEG, "mjpeg", "prores", "dnxhd", "svq1", "h263", "qtrle", "png",
                  "cinepak"), audio="pcm_s16le", options={"movflags": "faststart"}),
        Container("3gp", ".3gp", "3gp", ("h263", "mpeg4", "h264")),
        Container("mkv", ".mkv", "matroska", (*_NEW, *_MPEG, *_FREE, "msmpeg4v3", "ffv1", "mjpeg", "snow"),
                  _MILLISECOND, audio="mp2"),
        Container("webm", ".webm", "webm", _FREE, _MILLISECOND),
        Container("avi", ".avi", "avi", tuple(c for c in _EVERY if c not in ("av1", "hevc")), regular=True,
                  audio="mp2"),
        Container("ts", ".ts", "mpegts", (*_NEW, *_MPEG), Fraction(1, 90000), in_band=True, audio="mp2",
                  announces=False),
        Container("m2ts", ".m2ts", "mpegts", (*_NEW, "mpeg2video"), Fraction(1, 90000), {"mpegts_m2ts_mode": "1"},
                  in_band=True, announces=False),
        Container("mpg", ".mpg", "mpeg", ("mpeg1video", "mpeg2video"), Fraction(1, 90000), in_band=True,
                  announces=False, steady=True),
        Container("vob", ".vob", "vob", ("mpeg2video", "h264"), Fraction(1, 90000), in_band=True, announces=False,
                  steady=True),
        Container("mxf", ".mxf", "mxf", ("mpeg2video", "h264"), regular=True, in_band=True, steady=True),
        Container("nut", ".nut", "nut", _EVERY, audio="mp2", announces=False),
        Container("flv", ".flv", "flv", ("flv1", "h264", "hevc", "av1", "vp9", "flashsv"), _MILLISECOND),
        Container("asf", ".wmv", "asf", (*_OLD, "mpeg4", "h264", "mpeg2video", "mjpeg"), _MILLISECOND, audio="mp2",
                  steady=True),
        Container("ogg", ".ogv", "ogg", ("vp8",), regular=True),
        Container("gif", ".gif", "gif", ("gif",), Fraction(1, 100), announces=False),
        Container("ivf", ".ivf", "ivf", _FREE),
        Container("h264es", ".h264", "h264", ("h264",), in_band=True, regular=True, announces=False, steady=True),
        Container("hevces", ".hevc", "hevc", ("hevc",), in_band=True, regular=True, announces=False, steady=True),
        Container("m1v", ".m1v", "mpeg1video", ("mpeg1video",), in_band=True, regular=True, announces=False,
                  steady=True),
        Container("m2v", ".m2v", "mpeg2video", ("mpeg2video",), in_band=True, regular=True, announces=False,
                  steady=True),
        Container("m4v", ".m4v", "m4v", ("mpeg4",), in_band=True, regular=True, announces=False, steady=True),
        Container("h263es", ".h263", "h263", ("h263",), in_band=True, regular=True, announces=False, steady=True,
                  clock=_CIF_CLOCK),
        Container("h261es", ".h261", "h261", ("h261",), in_band=True, regular=True, announces=False, steady=True,
                  clock=_CIF_CLOCK),
        Container("mjpges", ".mjpeg", "mjpeg", ("mjpeg",), in_band=True, regular=True, announces=False, steady=True),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Timing:
    """When pictures are shown: `moment(rank)` in seconds for the picture of that rank on screen."""

    name: str
    moment: Callable[[int], Fraction]
    tick: Fraction
    regular: bool = True  # a constant rate from zero: what every container can keep
    audio: bool = False  # sound from zero, whatever the pictures do
    stamps: str = "both"  # "decode": presentation times in decoding order; "none": no presentation times
    shift: Fraction = Fraction(0)  # added to every timestamp before it is written

    @property
    def steady(self) -> bool:
        """Whether 25 pictures per second, from whenever."""
        return self.tick == _RATE and self.moment(39) == 39 * _RATE


_RATE = Fraction(1, 25)
EDIT_LISTS = ("mp4", "mp4end", "mov", "3gp")  # what begins before zero is cut away; elsewhere it is shown
_HOLDS = (1, 1, 3, 1, 2, 1, 1, 5, 1, 1, 2)  # pictures stay for so many ticks, in turn


def _varying(rank: int) -> Fraction:
    rounds, rest = divmod(rank, len(_HOLDS))
    return (rounds * sum(_HOLDS) + sum(_HOLDS[:rest])) * _RATE


TIMINGS = {
    timing.name: timing
    for timing in (
        Timing("cfr", lambda rank: rank * _RATE, _RATE),
        Timing("ntsc", lambda rank: Fraction(1001 * rank, 24000), Fraction(1001, 24000)),
        Timing("fast", lambda rank: Fraction(rank, 120), Fraction(1, 120)),
        Timing("slow", lambda rank: Fraction(rank), Fraction(1)),
        Timing("vfr", _varying, _RATE, regular=False),
        Timing("jitter", lambda rank: rank * _RATE + Fraction(rank * 7 % 5, 1000), Fraction(1, 1000), regular=False),
        Timing("coarse", lambda rank: Fraction(round(Fraction(rank * 100, 60)), 100), Fraction(1, 100), regular=False),
        Timing("pause", lambda rank: rank * _RATE + (Fraction(4) if rank >= 21 else 0), _RATE, regular=False),
        Timing("late", lambda rank: rank * _RATE, _RATE, regular=False, shift=Fraction(1)),
        Timing("audio", lambda rank: rank * _RATE, _RATE, audio=True),
        Timing("audiofirst", lambda rank: rank * _RATE, _RATE, regular=False, audio=True, shift=Fraction(1)),
        Timing("ptsdts", lambda rank: rank * _RATE, _RATE, stamps="decode"),
        Timing("ptsdtslate", lambda rank: rank * _RATE, _RATE, regular=False, stamps="decode", shift=Fraction(2)),
        Timing("edit", lambda rank: rank * _RATE, _RATE, regular=False, shift=Fraction(-7, 25)),
        Timing("wrap", lambda rank: rank * _RATE, _RATE, regular=False, shift=Fraction(2**33, 90000) - Fraction(4, 5)),
    )
}


@dataclass(frozen=True)
class Stamped:
    """A packet on its way into a file; times in seconds. What damage did to its picture is in `state`."""

    packet: CodedPacket
    pts: Fraction | None
    dts: Fraction | None
    duration: Fraction
    state: str = "good"  # "lost": nobody can have it; "doubtful": right or missing, but never wrong

    @property
    def number(self) -> int | None:
        """Number of the shown picture."""
        return self.packet.number


@dataclass(frozen=True)
class Plan:
    """What is due: the pictures in order, and when each comes onto the screen, in seconds from the first."""

    numbers: tuple[int, ...]
    moments: tuple[Fraction, ...]
    end: Fraction
    tick: Fraction  # how exactly the container keeps times
    lost: frozenset[int] = frozenset()
    doubtful: frozenset[int] = frozenset()
    evident: bool = True  # the file itself tells that something is lost
    from_first: bool = False  # nothing tells when the lost beginning was: time zero is the first picture that comes
    timed: bool = True  # the file itself tells when pictures after a loss are due
    replaced: bool = False  # nothing tells when the lost ones were due: the picture before may stay on for them
    silent: bool = False  # no decoder can tell: doubtful pictures may be spoiled, but never taken for others
    noted: bool = False  # an encoder that leaves a picture out writes the same file: the loss is noted beside ok
    reported: bool = False  # what is missing is reported, by a problem or by a note beside ok
    headless: bool = False  # pictures before the first one are gone, or may be anywhere: a problem may say so
    exact_end: bool = True  # the container tells how long the last picture stays
    unreadable: tuple[str, ...] = ()  # reasons that may be given for not a single picture


def stamp(stream: Stream, timing: Timing) -> list[Stamped]:
    """The packets of a stream with their times; decoding times rise and are never after presentation times."""
    shown = [packet for packet in stream.packets if packet.number is not None]
    rank_of = {number: rank for rank, number in enumerate(stream.numbers)}
    moments = [timing.moment(rank) for rank in range(len(shown))]
    step = timing.moment(1) - timing.moment(0)
    order = [rank_of[packet.number] for packet in shown]
    delay = max((place - rank for place, rank in enumerate(order)), default=0)
    stamped, place = [], 0
    for packet in stream.packets:
        early = place - delay
        dts = moments[early] if early >= 0 else moments[0] + early * step
        if packet.number is None:  # halfway to the picture that follows it
            pts = dts = (moments[place - 1] + moments[place]) / 2
            duration = step / 2
        else:
            rank = order[place]
            following = moments[rank + 1] if rank + 1 < len(moments) else moments[rank] + step
            pts, duration = moments[rank], following - moments[rank]
            if timing.stamps == "decode":
                pts = dts = moments[place]
            place += 1
        pts, dts = pts + timing.shift, dts + timing.shift
        stamped.append(Stamped(packet, None if timing.stamps == "none" else pts, dts, duration))
    return stamped


def make_plan(stream: Stream, container: Container, timing: Timing) -> Plan:
    """What is due from an untouched file."""
    moments = [timing.moment(rank) for rank in range(len(stream.numbers))]
    numbers = stream.numbers
    step = timing.moment(1) - timing.moment(0)
    if timing.name == "edit" and container.name in EDIT_LISTS:
        kept = [rank for rank, moment in enumerate(moments) if moment + timing.shift >= 0]
        numbers, moments = [numbers[rank] for rank in kept], [moments[rank] - moments[kept[0]] for rank in kept]
    clock = None if stream.name.startswith("h263p") else container.clock  # H.263+ has a clock of the stream's rate
    if clock is not None:
        moments = [moment // clock * clock for moment in moments]
    tick, exact_end = container.tick or timing.tick, timing.regular and clock is None
    return Plan(tuple(numbers), tuple(moments), moments[-1] + step, tick, exact_end=exact_end)


def write(
    path: Path,
    stream: Stream,
    container: Container,
    timing: Timing,
    packets: Sequence[Stamped],
    *,
    flags: str = "own",
) -> None:
    """Mux. `flags`: what the container says about keys: "own" (what the encoder said), "all" or "none"."""
    options = dict(container.options)
    if timing.shift < 0:
        options["avoid_negative_ts"] = "disabled"
    with (
        av.open(io.BytesIO(stream.holder)) as holder,
        av.open(f"file:{path}", "w", format=container.format, options=options) as output,
    ):
        template = holder.streams.video[0]
        video = output.add_stream_from_template(template, opaque=True)
        video.time_base = timing.tick
        sound = output.add_stream(container.audio, rate=AUDIO_RATE * 2) if timing.audio else None
        output.start_encoding()
        if sound is not None:
            _mux_sound(output, sound, seconds=float(packets[-1].dts) + 0.5)
        fine = Fraction(1, 600_000)
        for position, entry in enumerate(packets):
            packet = _packet(entry, stream, container, flags, fine, first=position == 0)
            packet.stream = video
            output.mux(packet)


def _packet(
    entry: Stamped, stream: Stream, container: Container, flags: str, base: Fraction, *, first: bool
) -> av.Packet:
    data = entry.packet.data
    if container.in_band and entry.packet.key and stream.codec in ("h264", "hevc", "mpeg4", "av1"):
        data = _annex_b(stream.extradata) + data
    packet = av.Packet(data)
    packet.time_base = base
    packet.pts = None if entry.pts is None else round(entry.pts / base)
    packet.dts = None if entry.dts is None else round(entry.dts / base)
    packet.duration = round(entry.duration / base)
    packet.is_keyframe = {"own": entry.packet.key, "all": True, "none": first}[flags]
    return packet


def _annex_b(extradata: bytes) -> bytes:
    return extradata


def _mux_sound(output: av.container.OutputContainer, sound: av.AudioStream, *, seconds: float) -> None:
    samples = np.zeros((1, int(2 * AUDIO_RATE * seconds)), dtype=np.int16)
    frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
    frame.sample_rate, frame.pts = 2 * AUDIO_RATE, 0
    resampled = av.AudioResampler(sound.format, sound.layout, 2 * AUDIO_RATE, frame_size=sound.frame_size or 1024)
    for piece in resampled.resample(frame):
        for packet in sound.encode(piece):
            output.mux(packet)
    for packet in sound.encode(None):
        output.mux(packet)
