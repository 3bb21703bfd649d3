"""What extraction costs besides decoding and encoding: a whole run on Ray against the bare work on as many processes.

The bare work is the same videos through the same decoding processes, without Ray, shards, ledger or checks. Both are
run in turn; the overhead is the share of the run's wall time that the bare work does not need.
"""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tdn_data.pipeline.datasets.index import index_dataset
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.extraction.engine import run_extraction
from tdn_data.pipeline.extraction.one_shard import VideoJob
from tdn_data.pipeline.extraction.sandbox import Sandbox
from tdn_data.pipeline.parameters import ExtractParameters, FrameParameters
from tdn_data.pipeline.shards.schema import library_versions

PARAMETERS = ExtractParameters(frames=FrameParameters(every_seconds=3, height=256, width=256), videos_per_shard=8)


@dataclass(frozen=True)
class ExtractTimes:
    """Median wall seconds of the whole extraction and of the bare work, over `num_rounds` rounds in turn."""

    path: str
    num_copies: int
    num_workers: int
    num_rounds: int
    run_seconds: float
    bare_seconds: float
    start_seconds: float
    versions: dict[str, str]

    @property
    def overhead(self) -> float:
        """The share of the run's wall time outside decoding and encoding, starting up included."""
        return 1 - self.bare_seconds / self.run_seconds


def run(path: Path, *, num_copies: int = 64, num_workers: int = 2, num_rounds: int = 3) -> ExtractTimes:
    """Extract `num_copies` of a clip on `num_workers` processes and measure what that adds to the bare work."""
    if not path.is_file():
        raise InputError(f"{path} is not there; give a video file.", path=path)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "videos"
        _link_copies(path.resolve(), root, num_copies)
        bare, whole = [], []
        for number in range(num_rounds):
            bare.append(_bare_seconds(root, num_workers))
            whole.append(_run_seconds(root, Path(folder) / f"out{number}", num_workers))
        start = _run_seconds(_single(path.resolve(), Path(folder)), Path(folder) / "single", num_workers)
    return ExtractTimes(
        str(path), num_copies, num_workers, num_rounds, median(whole), median(bare), start, library_versions()
    )


def format_times(result: ExtractTimes) -> str:
    """The result as lines of text."""
    return "\n".join(
        [
            f"{result.num_copies} copies of {result.path} on {result.num_workers} processes",
            f"  bare decoding and encoding  {result.bare_seconds:.2f} s",
            f"  the whole extraction        {result.run_seconds:.2f} s, overhead {result.overhead:.1%}",
            f"  of which for one copy alone {result.start_seconds:.2f} s, most of it Ray's start",
            "  " + ", ".join(f"{name} {version}" for name, version in result.versions.items()),
        ]
    )


def _link_copies(path: Path, root: Path, count: int) -> None:
    root.mkdir()
    names = [f"copy{number:04d}{path.suffix}" for number in range(count)]
    for name in names:
        (root / name).symlink_to(path)
    (root / "videos.csv").write_text("path,split,labels\n" + "".join(f"{name},train,x\n" for name in names))


def _single(path: Path, folder: Path) -> Path:
    root = folder / "one"
    _link_copies(path, root, 1)
    return root


def _bare_seconds(root: Path, num_workers: int) -> float:
    """Return the wall seconds that the videos take in bare decoding processes, started beforehand."""
    paths = sorted(str(path) for path in root.glob("copy*"))
    workers = [
        Sandbox("tdn_data.pipeline.extraction.one_shard:extract_packed", memory_bytes=PARAMETERS.limits.memory_bytes)
        for _ in range(num_workers)
    ]
    with ThreadPoolExecutor(num_workers) as pool:
        list(pool.map(lambda worker: _work(worker, paths[:1]), workers))
        started = time.perf_counter()
        list(pool.map(_work, workers, [paths[number::num_workers] for number in range(num_workers)]))
        seconds = time.perf_counter() - started
    for worker in workers:
        worker.stop()
    return seconds


def _work(worker: Sandbox, paths: list[str]) -> None:
    for path in paths:
        job = VideoJob(path, "rgb", PARAMETERS.frames, PARAMETERS.limits.max_pixels)
        worker.call(job, timeout_seconds=PARAMETERS.limits.seconds_per_video, read=len)


def _run_seconds(root: Path, out: Path, num_workers: int) -> float:
    manifest = index_dataset("folder", root)
    started = time.perf_counter()
    run_extraction(manifest, PARAMETERS, out=out, num_workers=num_workers)
    return time.perf_counter() - started
