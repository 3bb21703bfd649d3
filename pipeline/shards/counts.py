"""What is counted of a folder's ledger while it is written, and its splits by list, in the memory of a few rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import groupby
from operator import itemgetter

import pyarrow as pa
import pyarrow.compute as pc

from tdn_data.pipeline.shards.schema import SPLITS_SCHEMA, STATUSES
from tdn_data.pipeline.shards.sorting import SortedRows

ROWS_AT_ONCE = 1 << 13


class LedgerCounts:
    """Counts of a ledger of some modalities that passes through `counted`, sorted by modality and identifier."""

    def __init__(self, modalities: Collection[str]) -> None:
        self.status = {modality: dict.fromkeys(STATUSES, 0) for modality in modalities}
        self._several = len(self.status) > 1
        self._videos = SortedRows("video_id")  # of all videos where modalities share them, of those with splits else
        self._num_videos, self._last = 0, None
        self.have_splits = False

    def counted(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Yield the ledger's tables as they are, counting them."""
        for table in tables:
            for row in table.group_by(["modality", "status"]).aggregate([([], "count_all")]).to_pylist():
                self.status[row["modality"]][row["status"]] += row["count_all"]
            with_splits = pc.greater(pc.list_value_length(table["list_splits"]), 0)
            self.have_splits = self.have_splits or bool(pc.any(with_splits).as_py())
            videos = table.select(["video_id", "list_splits"])
            if self._several:
                self._videos.add(videos)
            else:
                self._videos.add(videos.filter(with_splits))
                self._count(videos["video_id"].combine_chunks())
            yield table

    def num_videos(self) -> int:
        """Return the number of videos, each once."""
        return sum(1 for _ in self._by_video()) if self._several else self._num_videos

    def splits(self) -> Iterator[pa.Table]:
        """Yield splits.parquet: each video's split in each list that uses it, sorted by identifier."""
        found: list[dict[str, object]] = []
        for video_id, rows in self._by_video():
            splits = [one for _, one in rows if one] or [()]
            found += [
                {"video_id": video_id, "list_split": number, "split": split}
                for number, split in enumerate(splits[-1], start=1)
                if split is not None
            ]
            if len(found) >= ROWS_AT_ONCE:
                yield pa.Table.from_pylist(found, SPLITS_SCHEMA)
                found = []
        yield pa.Table.from_pylist(found, SPLITS_SCHEMA)

    def close(self) -> None:
        """Remove temporary files."""
        self._videos.close()

    def _count(self, videos: pa.Array) -> None:
        """Count the identifiers of one modality's next rows, which come sorted."""
        if len(videos):
            self._num_videos += (pc.sum(pc.not_equal(videos[1:], videos[:-1])).as_py() or 0) + (
                videos[0].as_py() != self._last
            )
            self._last = videos[-1].as_py()

    def _by_video(self) -> Iterator[tuple[str, Iterator[tuple[str, list[str | None]]]]]:
        """Yield each identifier and its rows, (identifier, list splits)."""
        rows = (
            row
            for table in self._videos.tables()
            for batch in table.to_batches(max_chunksize=ROWS_AT_ONCE)
            for row in zip(batch["video_id"].to_pylist(), batch["list_splits"].to_pylist(), strict=True)
        )
        return groupby(rows, key=itemgetter(0))
