"""SHA-256 of the built-in set's payloads, in order of video and frame; seen on AVX2 and AVX-512 machines alike."""

import hashlib
from pathlib import Path

import pyarrow.parquet as pq

# modality -> columns, number of rows, digest; of the built-in set at its defaults
EXPECTED = {
    "rgb": (["image"], 10880, "68a59aaee5bc18365f21e86000383a7793d7aec80e1b737e5b224cd7cefa50ee"),
    "flow": (["flow_x", "flow_y"], 10200, "7c1b158096e1bc645e7d921659188721ab5b7f77e0a6f7b865f60de9bfdaa744"),
}


def payload_digest(shards: Path, columns: list[str]) -> tuple[int, str]:
    """Return the number of rows of a folder of shards and the digest of their payloads."""
    keys = ["video_id", "frame_index"]
    files = sorted(shards.glob("*-of-*.parquet"))
    rows = [row for path in files for row in pq.read_table(path, columns=keys + columns).to_pylist()]
    rows.sort(key=lambda row: (row["video_id"], row["frame_index"]))
    sums = hashlib.sha256()
    for row in rows:
        for column in columns:
            sums.update(row[column])
    return len(rows), sums.hexdigest()


def differences(shards: Path) -> list[str]:
    """Return the modalities below `shards` whose payloads are not the expected ones."""
    return [
        modality
        for modality, (columns, *expected) in EXPECTED.items()
        if list(payload_digest(shards / modality, columns)) != expected
    ]
