"""A long video in spans: pieces of its rows that several workers make at once and that an interrupted run keeps.

A span's rows lie as plain bytes in a folder of their own until the shard is written; its name says what made them, so
that they are found again only where they are the same. Together the spans give the rows that the whole video gives:
those of flow overlap by a frame. What cannot be had in spans, such as a stream that has to be decoded from its
beginning, is extracted whole.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tdn_data.pipeline.datasets.manifest import VideoRecord
from tdn_data.pipeline.errors import StorageError, VideoError
from tdn_data.pipeline.extraction import wire
from tdn_data.pipeline.extraction.rows.job import Extraction, VideoJob
from tdn_data.pipeline.limits import MAX_FRAMES
from tdn_data.pipeline.parameters import FrameParameters
from tdn_data.pipeline.shards.schema import PAYLOADS, STATISTICS, VideoRows
from tdn_data.pipeline.shards.storage import Storage

SPANS_FOLDER = ".spans"  # inside the folder of shards, until the run is over
SPAN_ROWS = {
    "rgb": 1 << 15,
    "flow": 1 << 11,
}  # minutes of work each; every span reads all packets of the file once more
LONG_BYTES = 128 << 20  # a file whose length nobody looked up is not asked for it below this size
_DIGEST_BYTES = 16

Span = tuple[int, int]


def spans_of(record: VideoRecord, section: FrameParameters, *, span_rows: int) -> tuple[Span, ...]:
    """Return the spans of a video that has more than `span_rows` rows by its announced length; none for others.

    The last one is open, for a video may be longer than it says.
    """
    num_rows = _num_rows(record, section)
    if num_rows <= span_rows or section.max_seconds is not None or record.fingerprint is None:
        return ()
    starts = [number * span_rows for number in range(math.ceil(num_rows / span_rows))]
    return tuple(zip(starts, [*starts[1:], MAX_FRAMES], strict=True))


def _num_rows(record: VideoRecord, section: FrameParameters) -> float:
    rate = record.fps if section.fps is None else section.fps
    if section.every_seconds is not None:
        rate = 1 / section.every_seconds
    return (record.duration_seconds or 0) * (rate or 0)


def with_length(record: VideoRecord, path: str, probe: Callable[[str], Mapping[str, object]]) -> VideoRecord:
    """Return a large video's record with its rate and duration, which `probe` finds where the list does not say it."""
    if record.duration_seconds is not None or (record.size_bytes or 0) < LONG_BYTES:
        return record
    try:
        return replace(record, **probe(path))
    except VideoError:
        return record  # its own row in the ledger will say why


@dataclass(frozen=True)
class SpanFiles:
    """Where the rows of a shard's long videos lie while the shard is not there; `made_by` tells what makes them."""

    storage: Storage
    made_by: str

    def name(self, record: VideoRecord, span: Span) -> str:
        """Return the name of the file of a video's span."""
        content = json.dumps([self.made_by, record.video_id, record.fingerprint, *span])
        return f"{hashlib.blake2b(content.encode(), digest_size=_DIGEST_BYTES).hexdigest()}.span"

    def write(self, record: VideoRecord, span: Span, extraction: Extraction) -> None:
        """Store a span's rows; raise StorageError where that cannot be done."""
        buffers, digest = wire.pack(extraction), hashlib.blake2b(digest_size=_DIGEST_BYTES)
        name = self.name(record, span)
        with self.storage.publish(name) as scratch, self.storage.faults(name), scratch.open("wb") as file:
            for one in buffers:
                digest.update(one)
                file.write(one)
            file.write(digest.digest())

    def missing(self, record: VideoRecord, spans: Iterable[Span], names: Iterable[str]) -> list[Span]:
        """Return the spans that have no file among `names`."""
        return [span for span in spans if self.name(record, span) not in set(names)]

    def read(self, record: VideoRecord, spans: Sequence[Span], job: VideoJob) -> Extraction | None:
        """Return a video's extraction from its spans; None where they do not give it: it is to be extracted whole."""
        try:
            return joined([self._read(record, span, job) for span in spans])
        except (StorageError, ValueError):  # not there, or damaged
            return None

    def _read(self, record: VideoRecord, span: Span, job: VideoJob) -> Extraction:
        content = memoryview(self.storage.read_bytes(self.name(record, span)))
        content, digest = content[:-_DIGEST_BYTES], bytes(content[-_DIGEST_BYTES:])
        if hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest() != digest:
            raise ValueError("a span's file is damaged")
        return wire.unpack(content, replace(job, span=span))

    def delete(self, record: VideoRecord, spans: Iterable[Span]) -> None:
        """Remove the files of a video's spans."""
        for span in spans:
            self.storage.delete(self.name(record, span))


def joined(parts: Sequence[Extraction]) -> Extraction | None:
    """Return the extraction of a video from those of its spans, in order; None where they do not fit each other."""
    first, filled = parts[0], [part.rows for part in parts if len(part.rows)]
    facts = {(part.problem and (part.problem.reason, part.problem.message), part.decoding, part.note) for part in parts}
    if not filled or len(facts) > 1 or len({(rows.height, rows.width) for rows in filled}) > 1:
        return None
    rows = _concatenated(filled)
    num_expected = max(len(rows), *(part.num_expected for part in parts))
    return Extraction(rows, num_expected, first.problem, first.decoding, first.note)


def _concatenated(parts: Sequence[VideoRows]) -> VideoRows:
    modality, has_next = parts[0].modality, parts[0].next_pts_seconds is not None
    return replace(
        parts[0],
        frame_index=np.concatenate([part.frame_index for part in parts]),
        pts_seconds=np.concatenate([part.pts_seconds for part in parts]),
        payloads={name: [one for part in parts for one in part.payloads[name]] for name in PAYLOADS[modality]},
        next_pts_seconds=np.concatenate([part.next_pts_seconds for part in parts]) if has_next else None,
        statistics={name: np.concatenate([part.statistics[name] for part in parts]) for name in STATISTICS[modality]},
    )
