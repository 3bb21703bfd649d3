"""Videos whose files are the same under several identifiers, by the fingerprints that the ledger has of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tdn_data.pipeline.datasets.manifest import UNUSED
from tdn_data.pipeline.errors import PipelineError
from tdn_data.pipeline.view.browse.video_columns import Videos


@dataclass(frozen=True)
class SameFile:
    """The places of the videos that have one file, and whether they are in several splits."""

    places: tuple[int, ...]
    in_two_splits: bool


def same_files(videos: Videos) -> tuple[SameFile, ...]:
    """Return the files that are listed more than once, those in two splits first; of a damaged ledger none.

    A fingerprint is of a file's size, beginning, middle and end; see `manifest.fingerprint_file`.
    """
    fingerprints = pa.nulls(len(videos), pa.string())
    for folder in videos.folders:
        try:
            table = folder.fingerprints().combine_chunks()
        except (PipelineError, OSError):
            continue
        table = table.filter(pc.greater(pc.fill_null(table["source_bytes"], 0), 0)).combine_chunks()
        places = pc.index_in(videos.ids, value_set=table["video_id"].combine_chunks())
        found = table["fingerprint"].combine_chunks().take(places)
        fingerprints = pc.if_else(pc.is_valid(fingerprints), fingerprints, found)
    codes = pc.fill_null(fingerprints.dictionary_encode().indices, -1).to_numpy(zero_copy_only=False)
    counts = np.bincount(codes + 1)
    counts[0] = 0  # videos without a fingerprint
    several = np.flatnonzero(counts[codes + 1] > 1)
    several = several[np.argsort(codes[several], kind="stable")]
    groups = np.split(several, np.flatnonzero(np.diff(codes[several])) + 1) if len(several) else []
    files = [SameFile(tuple(group.tolist()), _in_two_splits(videos, group)) for group in groups]
    return tuple(sorted(files, key=lambda file: (not file.in_two_splits, file.places)))


def _in_two_splits(videos: Videos, places: np.ndarray) -> bool:
    return len({videos.split[place] for place in places} - {None, UNUSED}) > 1
