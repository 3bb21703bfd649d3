"""What the local page costs on a large set: seconds to its start, memory, bytes and rows read, frames shown a second.

The set is made for it, in Parquet: one video of 340 x 256 with flow, and as many others as are asked for, of one tiny
frame each. The page is served by a process of its own and asked for the overview, a page of videos and one video;
Chromium, where it is installed, then steps and plays through that one. There is no peer: the bar is 25 frames a second.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from urllib.request import urlopen

import numpy as np

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.images import encode_image
from tdn_data.pipeline.machine import installed_version
from tdn_data.pipeline.parameters import FlowParameters, FrameParameters
from tdn_data.pipeline.shards.schema import SCHEMA_VERSION, LedgerRow, VideoRows, shard_name
from tdn_data.pipeline.shards.shard_folder import gather, shard_names, write_folder
from tdn_data.pipeline.shards.shard_formats import shard_writer
from tdn_data.pipeline.shards.storage import Storage

HEIGHT, WIDTH, NUM_FRAMES, FPS, BOUND = 256, 340, 150, 25, 20.0
SHOWN = "played"  # the identifier of the video that Chromium plays
PAGES = ("/", "/videos", "/videos?sort=bytes&page=2", f"/video?id={SHOWN}")
VIDEOS_PER_SHARD, NUM_CLASSES = 1000, 100
SECONDS_TO_WAIT, NUM_STEPS, SECONDS_PLAYED = 120, 100, 4
SPEED_WANTED = 25  # frames a second


@dataclass(frozen=True)
class BrowseTimes:
    """Medians over `num_rounds` starts; bytes and rows after all of PAGES were asked for once.

    `bytes_read` counts what the process read after its imports, `rows_read` the stored rows that it asked shards for,
    `memory_bytes` the most memory it held. Frames a second are 0 where there is no Chromium.
    """

    num_videos: int
    num_rounds: int
    start_seconds: float
    memory_bytes: int
    bytes_read: int
    rows_read: int
    stored_bytes: int
    stepped_per_second: float = 0.0
    played_per_second: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def ratios(self) -> dict[str, float]:
        """How many times 25 frames a second are shown; playing follows the clock and cannot be faster than that."""
        return {"stepping": self.stepped_per_second / SPEED_WANTED, "playing": self.played_per_second / SPEED_WANTED}


def run(*, num_videos: int = 100_000, num_rounds: int = 3) -> BrowseTimes:
    """Make a set of `num_videos`, start the page on it `num_rounds` times, and play one video in Chromium."""
    if num_videos < 1 or num_rounds < 1:
        raise ValueError(f"num_videos is {num_videos} and num_rounds {num_rounds}; both must be at least 1")
    with tempfile.TemporaryDirectory() as folder:
        write_set(Path(folder), num_videos)
        starts, counts = [], {}
        for _ in range(num_rounds):
            with served(Path(folder)) as (url, seconds, ask):
                starts.append(seconds)
                counts = ask_pages(url, ask)
        with served(Path(folder)) as (url, _, _):
            stepped, played = _frames_per_second(url)
        stored = sum(path.stat().st_size for path in Path(folder).iterdir())
    versions = {name: installed_version(name) or "none" for name in ("starlette", "uvicorn", "pyarrow", "playwright")}
    return BrowseTimes(
        num_videos, num_rounds, median(starts), stored_bytes=stored, stepped_per_second=stepped,
        played_per_second=played, versions=versions, **counts,
    )  # fmt: skip


def format_times(result: BrowseTimes) -> str:
    """Return what `run` measured as lines of text."""
    lines = [
        f"{result.num_videos:,} videos, {result.stored_bytes / 1e6:,.0f} MB of shards and lists",
        f"first page after {result.start_seconds:.2f} s (median of {result.num_rounds})",
        f"memory at most {result.memory_bytes / 1e6:,.0f} MB",
        f"read for {len(PAGES)} pages: {result.bytes_read / 1e6:,.1f} MB, {result.rows_read:,} stored rows",
    ]
    if result.played_per_second:
        lines.append(
            f"{WIDTH} x {HEIGHT} in Chromium: {result.stepped_per_second:.1f} frames a second stepping, "
            f"{result.played_per_second:.1f} playing at {FPS}"
        )
    else:
        lines.append("frames a second: not measured, for that Chromium and Playwright must be installed")
    return "\n".join([*lines, ", ".join(f"{name} {version}" for name, version in result.versions.items())])


def write_set(folder: Path, num_videos: int) -> None:
    """Write shards of `num_videos` videos, the one that is played with its flow."""
    tiny, names = _tiny_rows(), [SHOWN, *(f"set/video {number:06d}" for number in range(1, num_videos))]
    count = -(-num_videos // VIDEOS_PER_SHARD)
    for number in range(count):
        part = names[number * VIDEOS_PER_SHARD : (number + 1) * VIDEOS_PER_SHARD]
        _write_shard(
            folder, "rgb", number, count, [(one, _played_rows("rgb") if one == SHOWN else tiny) for one in part]
        )
    _write_shard(folder, "flow", 0, 1, [(SHOWN, _played_rows("flow"))])
    storage = Storage(folder)
    write_folder(storage, gather(storage, shard_names(storage)))


def _write_shard(folder: Path, modality: str, number: int, count: int, videos: list[tuple[str, VideoRows]]) -> None:
    name, ledger = shard_name(modality, number, count, "parquet"), []
    writer = shard_writer(folder / name, modality=modality, extension="parquet")
    for place, (video_id, rows) in enumerate(videos):
        split, labels = "test" if place % 5 == 0 else "train", (place % NUM_CLASSES,)
        writer.add(rows, video_id=video_id, split=split, labels=labels)
        stored = {"num_stored": len(rows), "stored_bytes": rows.num_bytes(), "shard": name}
        ledger.append(LedgerRow(video_id, modality, f"{video_id}.mp4", split, labels, "ok", **stored))
    section = FrameParameters() if modality == "rgb" else FlowParameters(bound=BOUND)
    about = {
        "schema_version": SCHEMA_VERSION, "dataset": "synthetic", "multi_label": False, "modality": modality,
        "class_names": [f"class {label}" for label in range(NUM_CLASSES)], "parameters_digest": "", "plan_digest": "",
        "parameters": section.model_dump(mode="json"),
    }  # fmt: skip
    writer.close(about, ledger)


def _tiny_rows() -> VideoRows:
    image = encode_image(np.full((8, 8, 3), 128, np.uint8), codec="jpeg")
    return VideoRows("rgb", np.zeros(1, np.int64), np.zeros(1), 8, 8, {"image": [image]})


def _played_rows(modality: str) -> VideoRows:
    """Return a texture that moves to the right, or its flow with some noise, as JPEG."""
    generator = np.random.default_rng(0)
    texture = generator.integers(0, 256, (HEIGHT // 8, WIDTH // 4, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    count = NUM_FRAMES if modality == "rgb" else NUM_FRAMES - 1
    times = np.arange(NUM_FRAMES) / FPS
    if modality == "rgb":
        frames = (texture[:, number : number + WIDTH] for number in range(count))
        payloads = {"image": [encode_image(np.ascontiguousarray(one), codec="jpeg") for one in frames]}
        return VideoRows("rgb", np.arange(count), times, HEIGHT, WIDTH, payloads)
    planes = {
        name: generator.normal(middle, 4, (count, HEIGHT // 8, WIDTH // 4)) for name, middle in FLOW_LEVELS.items()
    }
    payloads = {name: [encode_image(_plane(one), codec="jpeg") for one in plane] for name, plane in planes.items()}
    return VideoRows("flow", np.arange(count), times[:-1], HEIGHT, WIDTH, payloads, times[1:], BOUND)


FLOW_LEVELS = {"flow_x": 150, "flow_y": 128}


def _plane(levels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(levels.clip(0, 255).astype(np.uint8).repeat(8, 0).repeat(4, 1)[:, :WIDTH])


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, float, object]]:
    """Serve the page from a process of its own; give its address, the seconds to the first answer, and its counters."""
    started = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", "tdn_data.benchmarks.browse", str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip

    def ask() -> dict[str, int]:
        child.stdin.write("counters\n")
        child.stdin.flush()
        return json.loads(child.stdout.readline())

    try:
        url = child.stdout.readline().strip()
        if not url:
            raise InputError("the page did not start; `tdn-data browse` on a folder of shards says why.", key="browse")
        response_of(url)
        yield url, time.perf_counter() - started, ask
    finally:
        child.stdin.close()
        child.wait(SECONDS_TO_WAIT)
        child.stdout.close()


def response_of(url: str) -> bytes:
    """Return what an address answers."""
    with urlopen(url, timeout=SECONDS_TO_WAIT) as answer:
        return answer.read()


def ask_pages(url: str, ask) -> dict[str, int]:
    """Ask for each of PAGES with its pictures, and for rows as the player does; return the counters.

    Before that all is read that is read in the background: how long videos are.
    """
    for page in PAGES:
        text = response_of(f"{url.rstrip('/')}{page}").decode()
        for source in re.findall(r'<img[^>]* src="(/media/poster[^"]*)"', text):
            response_of(f"{url.rstrip('/')}{source.replace('&amp;', '&')}")
    for modality in ("rgb", "flow"):
        response_of(f"{url.rstrip('/')}/media/rows?id={SHOWN}&modality={modality}&start=0&count=8")
    until = time.monotonic() + SECONDS_TO_WAIT
    while not json.loads(response_of(f"{url.rstrip('/')}/lengths"))["done"] and time.monotonic() < until:
        time.sleep(0.1)
    return ask()


def _frames_per_second(url: str) -> tuple[float, float]:
    """Return the frames a second that Chromium shows stepping and playing; zeros where it is not installed."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        chromium = None
    if chromium is None:
        return 0.0, 0.0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"{url.rstrip('/')}/video?id={SHOWN}")
        page.wait_for_selector("#player[data-shown]", timeout=1000 * SECONDS_TO_WAIT)
        found = page.evaluate(STEPPING, NUM_STEPS), page.evaluate(PLAYING, 1000 * SECONDS_PLAYED)
        browser.close()
    return found


STEPPING = """async (count) => {
  const player = document.getElementById("player"), next = () => new Promise(requestAnimationFrame);
  const begin = performance.now();
  for (let step = 1; step <= count; step++) {
    document.getElementById("forward").click();
    while (Number(player.dataset.row) < step) await next();
  }
  return 1000 * count / (performance.now() - begin);
}"""
PLAYING = """async (milliseconds) => {
  const player = document.getElementById("player"), before = Number(player.dataset.shown), begin = performance.now();
  document.getElementById("play").click();
  await new Promise((done) => setTimeout(done, milliseconds));
  return 1000 * (Number(player.dataset.shown) - before) / (performance.now() - begin);
}"""


def main(folder: str) -> None:
    """Serve the page over a folder; print its address, and for each line read the counters as JSON; end with input."""
    from tdn_data.pipeline.shards.parquet import ParquetShard
    from tdn_data.pipeline.view.browse.serve import open_site

    rows_read, read = [0], ParquetShard.read

    def counted(shard: ParquetShard, entry, rows=None) -> VideoRows:
        found = read(shard, entry, rows)
        rows_read[0] += len(found)
        return found

    ParquetShard.read = counted
    before = _bytes_read()
    site = open_site(folder, port=0)
    threading.Thread(target=site.serve, daemon=True).start()
    print(site.url, flush=True)
    for _ in sys.stdin:
        counters = {"bytes_read": _bytes_read() - before, "rows_read": rows_read[0], "memory_bytes": _most_memory()}
        print(json.dumps(counters), flush=True)
    with suppress(Exception):
        site.stop()


def _bytes_read() -> int:
    """Return the bytes that this process has read of files and sockets (Linux)."""
    return int(re.search(r"rchar: (\d+)", Path("/proc/self/io").read_text())[1])


def _most_memory() -> int:
    """Return the most memory that this process has held (Linux)."""
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])


if __name__ == "__main__":
    main(sys.argv[1])
