"""Facts of other people's files for a manifest, read in a process that a hostile file can only hang for a while."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterator
from functools import partial

from tdn_data.pipeline.extraction.sandbox import Sandbox, checked_text
from tdn_data.pipeline.limits import MAX_SIDE
from tdn_data.pipeline.parameters import Limits

PROBE_SECONDS = 30.0
MAX_PROBE_BYTES = 1 << 16


@contextlib.contextmanager
def probing() -> Iterator[Callable[[str], dict[str, object]]]:
    """Give a function from a file's path to its codec, width, height, fps and duration_seconds.

    It raises VideoError for a file that does not open, or is not done within `PROBE_SECONDS`.
    """
    process = Sandbox("tdn_data.pipeline.video.probe:packed_probe", memory_bytes=Limits().memory_bytes)
    try:
        yield partial(process.call, timeout_seconds=PROBE_SECONDS, read=_read_probe)
    finally:
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
