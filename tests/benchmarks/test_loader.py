"""The loader benchmark stores a video, compares all roads and prints what it found; no time is judged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tdn_data.benchmarks import loader as benchmark
from tdn_data.stages.cli import main
from tests.conftest import write_clip


def test_every_road_is_timed_and_absent_peers_are_named(tmp_path: Path):
    write_clip(tmp_path / "clip.mp4")
    words = ["--frames", "2", "--size", "32", "--clips", "2", "--workers", "0", "--rounds", "1"]
    outcome = CliRunner().invoke(main, ["bench", "loader", str(tmp_path / "clip.mp4"), *words, "--json"])
    assert outcome.exit_code == 0, outcome.stderr
    record = json.loads(outcome.stdout)
    ratios, per_second = record.pop("ratios"), record.pop("clips_per_second")
    installed = benchmark.PEERS.keys() - set(record["not_installed"])
    assert record["milliseconds"].keys() == {"lmdb", "parquet", "float32", "folder", "bare", *installed}
    assert ratios.keys() == {"parquet vs lmdb", "cost vs bare"} | {f"lmdb vs {name}" for name in ("folder", *installed)}
    assert min(*record["milliseconds"].values(), *per_second["0"].values()) > 0
    shown = benchmark.format_times(benchmark.LoaderTimes(**record, clips_per_second=per_second))
    assert all(f"pip install --no-deps {benchmark.PEERS[name]}" in shown for name in record["not_installed"])


def test_an_unknown_crop_is_named_before_anything_is_stored(tmp_path: Path):
    with pytest.raises(ValueError, match="crop is 'middle'; known crops: corner"):
        benchmark.run(tmp_path / "absent.mp4", crop="middle")
