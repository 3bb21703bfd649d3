"""Every listed video is in the ledger of every modality, once."""

import pytest

from tdn_data.pipeline.datasets.manifest import Manifest, VideoRecord
from tdn_data.pipeline.errors import ShardError
from tdn_data.pipeline.extraction.handover import count_and_compare
from tdn_data.pipeline.shards.gathered import GatheredRows
from tdn_data.pipeline.shards.schema import LEDGER_SCHEMA, LedgerRow

NAMES = [f"v{number}" for number in range(300)]
MANIFEST = Manifest("d", "r", ("a",), False, tuple(VideoRecord(name, f"{name}.mp4", "train", (0,)) for name in NAMES))


def ledger_of(names, modality="rgb"):
    gathered = GatheredRows(LedgerRow, LEDGER_SCHEMA)
    gathered.add(
        LedgerRow(name, modality, "p", "train", (0,), "ok", num_stored=3, decoding="full" if name == "v3" else "sparse")
        for name in names
    )
    return gathered


def test_a_ledger_is_counted():
    (counts,) = count_and_compare(MANIFEST, ["rgb"], ledger_of(reversed(NAMES))).values()
    assert (counts.num_videos, counts.num_rows) == (300, 900)
    assert counts.status == {"ok": 300, "partial": 0, "failed": 0}
    assert counts.decoding == {"sparse": 299, "full": 1}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (NAMES[1:], r"300 videos are listed and 299 are in the rgb ledger, e.g. \['v0'\]"),
        ([*NAMES[1:], "v1"], r"300 videos are listed and 300 are in the rgb ledger, e.g. \['v0', 'v1'\]"),
        ([*NAMES, "w"], r"300 videos are listed and 301 are in the rgb ledger, e.g. \['w'\]"),
        ([], r"300 videos are listed and 0 are in the rgb ledger"),
    ],
)
def test_a_video_that_is_lost_or_counted_twice_is_named(found, words):
    with pytest.raises(ShardError, match=words):
        count_and_compare(MANIFEST, ["rgb"], ledger_of(found))
