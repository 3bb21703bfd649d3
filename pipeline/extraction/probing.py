"""Facts of other people's files for a manifest, read in processes that a hostile file can only hang for a while."""

from __future__ import annotations

import contextlib
import json
import math
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from tdn_data.pipeline.extraction.sandbox import Sandbox, checked_text
from tdn_data.pipeline.limits import MAX_SIDE
from tdn_data.pipeline.parameters import Limits

PROBE_SECONDS = 30.0
MAX_PROBE_BYTES = 1 << 16
PROCESSES_PER_CORE = 2  # while one waits for the disk or the network, another computes
MAX_PROCESSES = 64  # each holds some 60 MB


@contextlib.contextmanager
def probing(num_processes: int | None = None) -> Iterator[Callable[[str], dict[str, object]]]:
    """Give a function from a file's path to its codec, width, height, fps and duration_seconds.

    It may be called from many threads; `num_processes` (default: two for each core) then work side by side. It raises
    VideoError for a file that does not open, or is not done within `PROBE_SECONDS`.
    """
    count = num_processes or min(PROCESSES_PER_CORE * (os.cpu_count() or 1), MAX_PROCESSES)
    processes: list[Sandbox] = []
    own = threading.local()

    def start() -> None:
        own.process = Sandbox("tdn_data.pipeline.video.probe:packed_probe", memory_bytes=Limits().memory_bytes)
        processes.append(own.process)

    def probe(path: str) -> dict[str, object]:
        return own.process.call(path, timeout_seconds=PROBE_SECONDS, read=_read_probe)

    # A process dies with the thread that started it: these threads live until the block ends.
    with ThreadPoolExecutor(count, initializer=start) as pool:
        try:
            yield lambda path: pool.submit(probe, path).result()
        finally:
            pool.shutdown(cancel_futures=True)
            for process in processes:
                process.stop()


def _read_probe(content: memoryview) -> dict[str, object]:
    """Return what `packed_probe` found; raise ValueError for an answer that cannot be right."""
    found = json.loads(bytes(content[:MAX_PROBE_BYTES]))
    kinds = {"codec": str, "width": int, "height": int, "fps": float, "duration_seconds": float}
    if not isinstance(found, dict) or found.keys() != kinds.keys():
        raise ValueError("other facts than asked for")
    if any(type(found[name]) is not kind for name, kind in kinds.items()):
        raise ValueError("facts of another kind")
    numbers = [found[name] for name in kinds if name != "codec"]
    if not all(math.isfinite(number) and number >= 0 for number in numbers) or max(numbers[:2]) > MAX_SIDE:
        raise ValueError("facts out of range")
    return found | {"codec": checked_text(found["codec"])}
