"""A video's rows as plain bytes, between the process that decodes it and the one that writes the shard.

    length of the header, 8 bytes    header, JSON    frame_index, int64 (N,)    pts_seconds, float64 (N,)
    [next_pts_seconds, float64 (N,)]    each of `STATISTICS[modality]`, float64 (N,)
    per payload column: lengths, int64 (N,), then the payloads one after another

Numbers are little-endian. `unpack` runs outside the sandbox and believes nothing: sizes, counts, times and the
head of each image must be what the job can give.
"""

from __future__ import annotations

import json
import math

import numpy as np

from tdn_data.pipeline.extraction.rows.job import Extraction, VideoJob
from tdn_data.pipeline.extraction.sandbox import checked_problem, checked_text, plain_problem
from tdn_data.pipeline.images import encoded_size
from tdn_data.pipeline.limits import MAX_FRAMES, MAX_SIDE
from tdn_data.pipeline.shards.schema import PAYLOADS, STATISTICS, VideoRows

_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 1 << 16
_KEYS = {"num_rows", "height", "width", "num_expected", "problem", "decoding", "note"}
_DECODINGS = (None, "sparse", "full")


def pack(extraction: Extraction) -> list[bytes]:
    """Return the buffers of an extraction, in the order in which `unpack` reads them."""
    rows = extraction.rows
    header = {
        "num_rows": len(rows),
        "height": int(rows.height),
        "width": int(rows.width),
        "num_expected": int(extraction.num_expected),
        "problem": extraction.problem and plain_problem(extraction.problem),
        "decoding": extraction.decoding,
        "note": extraction.note,
    }
    content = json.dumps(header).encode()
    columns = [rows.pts_seconds] if rows.next_pts_seconds is None else [rows.pts_seconds, rows.next_pts_seconds]
    columns += [rows.statistics[name] for name in STATISTICS[rows.modality]]
    buffers = [len(content).to_bytes(_LENGTH_BYTES, "little"), content, rows.frame_index.astype("<i8").tobytes()]
    buffers += [column.astype("<f8").tobytes() for column in columns]
    for name in PAYLOADS[rows.modality]:
        column = rows.payloads[name]
        buffers += [np.array([len(one) for one in column], "<i8").tobytes(), *column]
    return buffers


def unpack(content: memoryview, job: VideoJob) -> Extraction:
    """Return the extraction of `job`; raise ValueError where the bytes cannot be one."""
    reader = _Reader(content)
    header = _header(reader)
    count, size = header["num_rows"], (header["height"], header["width"])
    if count and isinstance(job.section.size, tuple) and size != job.section.size:
        raise ValueError(f"images of {size[0]} x {size[1]}")
    index, pts = reader.array(count, np.int64), reader.array(count, np.float64)
    next_pts = reader.array(count, np.float64) if job.modality == "flow" else None
    statistics = {name: reader.array(count, np.float64) for name in STATISTICS[job.modality]}
    _check_times(index, pts, next_pts)
    _check_statistics(statistics)
    payloads = {name: reader.payloads(count) for name in PAYLOADS[job.modality]}
    reader.finish()
    for image in (one for column in payloads.values() for one in column):
        _check_image(image, job, size)
    rows = VideoRows(
        modality=job.modality,
        frame_index=index,
        pts_seconds=pts,
        height=size[0],
        width=size[1],
        payloads=payloads,
        next_pts_seconds=next_pts,
        bound=job.section.bound if job.modality == "flow" else None,
        statistics=statistics,
    )
    return Extraction(rows, header["num_expected"], header["problem"], header["decoding"], header["note"])


class _Reader:
    """Takes an answer apart from front to end; ValueError where it is too short or too long."""

    def __init__(self, content: memoryview) -> None:
        self._content, self._position = content, 0

    def take(self, num_bytes: int) -> memoryview:
        if num_bytes < 0 or num_bytes > len(self._content) - self._position:
            raise ValueError("an answer that breaks off")
        self._position += num_bytes
        return self._content[self._position - num_bytes : self._position]

    def array(self, count: int, dtype: type) -> np.ndarray:
        kind = np.dtype(dtype).newbyteorder("<")
        return np.frombuffer(self.take(count * kind.itemsize), kind).astype(dtype)

    def payloads(self, count: int) -> list[bytes]:
        return [bytes(self.take(length)) for length in self.array(count, np.int64).tolist()]

    def finish(self) -> None:
        if self._position != len(self._content):
            raise ValueError("an answer with something behind it")


def _header(reader: _Reader) -> dict:
    """Return the header with its problem rebuilt, every value checked."""
    length = int.from_bytes(reader.take(_LENGTH_BYTES), "little")
    if length > _MAX_HEADER_BYTES:
        raise ValueError("a header that is too long")
    try:
        header = json.loads(bytes(reader.take(length)))
    except RecursionError as error:
        raise ValueError("a header that is too deep") from error
    if not isinstance(header, dict) or header.keys() != _KEYS:
        raise ValueError("a header of other names")
    count, empty = _number(header["num_rows"], MAX_FRAMES), not header["num_rows"]
    for side in ("height", "width"):
        if (_number(header[side], MAX_SIDE) == 0) != empty:
            raise ValueError(f"a {side} of {header[side]}")
    if _number(header["num_expected"], MAX_FRAMES) < count or header["decoding"] not in _DECODINGS:
        raise ValueError("counts that do not fit")
    problem = header["problem"] and checked_problem(header["problem"])
    note = header["note"] and checked_text(header["note"])
    return header | {"problem": problem or None, "note": note or None}


def _number(value: object, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError("a count out of range")
    return value


def _check_statistics(statistics: dict[str, np.ndarray]) -> None:
    if not all(np.isfinite(values).all() and (values >= 0).all() for values in statistics.values()):
        raise ValueError("statistics that are no numbers")


def _check_times(index: np.ndarray, pts: np.ndarray, next_pts: np.ndarray | None) -> None:
    """Raise ValueError unless frames are numbered from 0 and times are finite, and neither ever falls."""
    times = [pts] if next_pts is None else [pts, next_pts]
    if any(not np.isfinite(column).all() or (column < 0).any() or (np.diff(column) < 0).any() for column in times):
        raise ValueError("times that are no times")
    if (index < 0).any() or (np.diff(index) < 0).any() or (next_pts is not None and (next_pts < pts).any()):
        raise ValueError("frames out of order")


def _check_image(image: bytes, job: VideoJob, size: tuple[int, int]) -> None:
    """Raise ValueError unless the head of an encoded image announces the rows' size and the job's codec."""
    channels = 1 if job.modality == "flow" else 3
    if job.section.codec == "raw":
        if len(image) != math.prod(size) * channels:
            raise ValueError("a raw image of another size")
    elif encoded_size(image, codec=job.section.codec) != (*size, channels):
        raise ValueError(f"an image that is no {job.section.codec} of {size[0]} x {size[1]}")
