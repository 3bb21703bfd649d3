"""Damaged videos: real clips with bytes flipped, cut out and spliced. No hang, no crash of the run, each in the ledger.

A few dozen of small clips here, 1,000 of all by `make fuzz` (TDN_DATA_MUTATIONS).
"""

import os
import random

import pytest

from tdn_data.pipeline.datasets.index import index_dataset
from tdn_data.pipeline.errors import VideoError
from tdn_data.pipeline.extraction.engine import run_extraction
from tdn_data.pipeline.parameters import ExtractParameters, FrameParameters, Limits
from tdn_data.pipeline.shards.verify import verify_shards

pytestmark = pytest.mark.slow

NUM_MUTATIONS = int(os.environ.get("TDN_DATA_MUTATIONS", "40"))
NUM_CLIPS = 12 if NUM_MUTATIONS < 1000 else None  # the smallest, or all
LIMITS = Limits(seconds_per_video=30, max_pixels=4096 * 4096)


def mutate(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """Flip bytes anywhere, flip them in the header, cut the end, cut out a piece, or splice two files."""
    data = bytearray(content)
    kind = generator.choice(("flip", "header", "cut", "remove", "splice"))
    if kind in ("flip", "header"):
        end = len(data) if kind == "flip" else min(len(data), 4096)
        for _ in range(generator.choice((1, 8, 200))):
            data[generator.randrange(end)] = generator.randrange(256)
    elif kind == "cut":
        del data[generator.randrange(len(data)) :]
    elif kind == "remove":
        start = generator.randrange(len(data))
        del data[start : start + generator.randrange(1, 1 + len(data) // 3)]
    else:
        data[generator.randrange(len(data)) :] = other[generator.randrange(len(other)) :]
    return bytes(data)


def test_every_damaged_video_has_a_status(encoded_clips, tmp_path):
    contents = [(path.suffix, path.read_bytes()) for path in encoded_clips[:NUM_CLIPS]]
    generator, rows = random.Random(7), ["path,split,labels"]
    for number in range(NUM_MUTATIONS):
        (suffix, content), (_, other) = generator.choice(contents), generator.choice(contents)
        (tmp_path / f"m{number:04d}{suffix}").write_bytes(mutate(content, other, generator))
        rows.append(f"m{number:04d}{suffix},train,x")
    (tmp_path / "videos.csv").write_text("\n".join(rows))
    parameters = ExtractParameters(frames=FrameParameters(fps=5, height=48, width=64), limits=LIMITS)
    summary = run_extraction(index_dataset("folder", tmp_path), parameters, out=tmp_path / "out", num_workers=2)
    assert len(summary.ledger) == NUM_MUTATIONS
    for row in summary.ledger:
        assert (row.status == "ok") == (row.reason is None)
        assert row.reason is None or row.reason in VideoError.REASONS
        assert (row.num_stored == 0) == (row.status == "failed")
    crashed = [
        (row.video_id, row.reason, row.message) for row in summary.ledger if row.reason in ("crashed", "timeout")
    ]
    assert crashed == []
    assert verify_shards(tmp_path / "out").findings == ()
