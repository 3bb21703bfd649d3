"""Opening a video: one door for every file name and metadata encoding, and one translation of FFmpeg's errors."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from tdn_data.pipeline.errors import VideoError
from tdn_data.pipeline.files import check_video_file
from tdn_data.pipeline.video.avi import index_times, restamp
from tdn_data.pipeline.video.container_formats import OPEN_OPTIONS, is_unlisted, undecodable_kind
from tdn_data.pipeline.video.matroska import ticks_below_zero
from tdn_data.pipeline.video.structure import is_cut_iso, lacks_time_scale

_OGG_HEADERS = (b"OVP80", b"\x80theora", b"\x81theora", b"\x82theora")
_AS_DECODED = {  # containers of decoding times alone: codecs whose pictures tell their order on screen
    "asf": ("h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4"),
    "avi": ("h264", "mpeg1video", "mpeg2video"),
}
_PADDING_PIXELS = 1 << 20  # decoders round sizes up to whole blocks
_REMEMBERED_PACKETS = 512
_MAX_SMALL_BYTES = 64 << 20  # files of which no packet can be too large for the memory


@contextmanager
def open_video(path: str | os.PathLike, *, max_pixels: int) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The opened container and the video stream that players take, decoding in one thread.

    Cover pictures of sound files do not count. Raises VideoError: `missing`, `unreadable`, `unsupported` (see
    `formats`), `truncated` (an MP4 cut off before its index), `no_video_stream`, `too_large` (the decoder itself
    refuses pictures that grow later on). FFmpeg's errors inside the block become `corrupt`, or `too_large` where
    memory gave out.
    """
    path = Path(path)
    check_video_file(path)
    try:
        container = _open(path)
    except (av.FFmpegError, ValueError, OSError) as error:
        raise _opening_error(path, error) from error
    with container:
        stream = _best_stream(container, path)
        context = stream.codec_context
        check_pixels(context.width * context.height, max_pixels=max_pixels, path=path)
        context.thread_count = 1
        context.options = {"max_pixels": str(_decoder_limit(max_pixels))}
        try:
            yield container, stream
        except av.FFmpegError as error:
            reason = "too_large" if isinstance(error, MemoryError) else "corrupt"
            raise VideoError(reason, f"{path} cannot be decoded ({error.strerror})", path=path) from error


def _open(path: Path, **options: str) -> InputContainer:
    """Open a container; without a time scale its edit list means nothing, and would cut pictures away."""
    # "file:" keeps names with ':' or '%' or a leading '-' from being taken for protocols or patterns
    container = av.open(f"file:{path}", metadata_errors="replace", container_options=OPEN_OPTIONS | options)
    ticks = [float(stream.time_base) for stream in container.streams.video if stream.time_base]
    if not options and "mov" in format_names(container) and lacks_time_scale(path, max(ticks, default=0.0)):
        container.close()
        return _open(path, ignore_editlist="1")
    return container


def refuses_size(context: av.VideoCodecContext, *, max_pixels: int) -> bool:
    """Whether a decoder that failed did so for the size of a picture; some keep that size, some take it back."""
    num_pixels = context.width * context.height
    return num_pixels == 0 or num_pixels > _decoder_limit(max_pixels)


def _decoder_limit(max_pixels: int) -> int:
    return 2 * max_pixels + _PADDING_PIXELS


def check_pixels(num_pixels: int, *, max_pixels: int, path: object) -> None:
    """Raise VideoError("too_large") for a picture of more than `max_pixels`."""
    if num_pixels > max_pixels:
        raise VideoError("too_large", f"{path}: a picture has {num_pixels:,} pixels, {max_pixels:,} allowed", path=path)


def read_packets(container: InputContainer, *streams: VideoStream) -> Iterator[av.Packet]:
    """Packets of `streams`, by default of all, in file order, without empty ones, which mean "as before" in AVI.

    Left out, too, are repetitions of earlier packets, time and bytes, as broken transmissions have them, and the
    headers that come again where Ogg files are joined. Where an AVI file's index says another time than FFmpeg counted,
    a packet gets that. ASF and AVI store decoding times alone, and what FFmpeg makes of them is wrong around a loss;
    pictures whose order is known without it get those.
    """
    headers = _OGG_HEADERS if "ogg" in format_names(container) else ()
    times = {stream.index: index_times(container, stream) for stream in streams}
    early = {stream.index: times_below_zero(stream) for stream in streams}
    as_decoded = {codec for name in format_names(container) for codec in _AS_DECODED.get(name, ())}
    memories: dict[int, _Memory] = {}
    try:
        for packet in container.demux(*streams):
            restamp(packet, times.get(packet.stream_index, {}))
            packet.pts = early.get(packet.stream_index, {}).get(packet.pos, packet.pts)
            if as_decoded and packet.stream.codec_context.codec.canonical_name in as_decoded:
                packet.pts = packet.dts
            if not packet.size or bytes(memoryview(packet)[:7]).startswith(headers):
                continue
            are_pages = bool(headers)  # the pages of an Ogg file say what comes again, and FFmpeg gives it new times
            if are_pages or not memories.setdefault(packet.stream_index, _Memory()).has_seen(packet):
                yield packet
    except IndexError:
        return  # PyAV stumbles, after the last packet, over streams that began in the middle of the file
    except MemoryError as error:
        if container.size > _MAX_SMALL_BYTES:
            raise
        message = f"a packet is to be larger than the file ({error})"  # a size that was overwritten
        raise av.InvalidDataError(errno.EINVAL, message) from error


def times_below_zero(stream: VideoStream) -> dict[int, int]:
    """Where a packet's bytes begin -> its time in ticks, of those below zero of a Matroska file; else empty."""
    container = stream.container
    if "matroska" not in format_names(container):
        return {}
    return ticks_below_zero(container.name.removeprefix("file:"), container.streams.video.index(stream))


class _Memory:
    """The last packets of a stream. A stretch that begins with a key packet among others is joined, no repetition."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, int]] = {}  # time -> size and check sum, in the order of arrival
        self._all_keys, self._repeats = True, False
        self._last: tuple[int | None, tuple[int, int]] | None = None

    def has_seen(self, packet: av.Packet) -> bool:
        """Whether this packet was among them; it is remembered."""
        mark = (packet.size, zlib.crc32(memoryview(packet)))
        begins = packet.is_keyframe and packet.pts in self._seen and self._last != (packet.pts, mark)
        if begins and not (self._all_keys or self._repeats):
            self._seen.clear()
        self._last = packet.pts, mark
        self._repeats = packet.pts is not None and self._seen.get(packet.pts) == mark
        self._all_keys = self._all_keys and packet.is_keyframe
        self._seen[packet.pts] = mark
        if len(self._seen) > _REMEMBERED_PACKETS:
            del self._seen[next(iter(self._seen))]
        return self._repeats


def flags_incomplete_packets(container: InputContainer) -> bool:
    """Whether a packet's corrupt flag says that bytes are missing. MPEG-TS sets it wherever files were joined."""
    return "mpegts" not in format_names(container)


def format_names(container: InputContainer) -> set[str]:
    """The demuxer's names, such as mov, mp4, m4a for one of them."""
    return set(container.format.name.split(","))


def nothing_decodes(path: object, *, failed: bool, cut_off: bool) -> VideoError:
    """The error for a video stream that opens and gives not one picture; `failed`: there were packets to decode."""
    if kind := undecodable_kind(path):
        return VideoError("unsupported", f"{path} is {kind}", path=path)
    if failed:
        return VideoError("corrupt", f"{path}: not one picture decodes", path=path)
    if cut_off:
        return VideoError("truncated", f"{path} ends before its first picture", path=path)
    return VideoError("no_frames", f"{path}: the video stream holds no picture", path=path)


def _best_stream(container: InputContainer, path: Path) -> VideoStream:
    stream = container.streams.best("video")
    if stream is None or Disposition.attached_pic in stream.disposition:
        raise VideoError("no_video_stream", f"{path} has no video stream", path=path)
    if stream.codec_context is None:
        raise VideoError("unsupported", f"{path}: there is no decoder for its video codec here", path=path)
    return stream


def _opening_error(path: Path, error: Exception) -> VideoError:
    if is_cut_iso(path):
        return VideoError("truncated", f"{path} breaks off before the index that an MP4 needs", path=path)
    if is_unlisted(error):
        return VideoError("unsupported", f"{path} is a playlist or of another kind that is not read here", path=path)
    words = getattr(error, "strerror", None) or str(error)
    return VideoError("unreadable", f"{path} cannot be opened as a video ({words.lower()})", path=path)
