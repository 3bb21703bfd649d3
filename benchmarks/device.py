"""All that a GPU is for, measured on one machine in one run: flow, networks, training; the result is one JSON.

    python -m tdn_data.benchmarks.device --device cuda --out gpu.json

It needs torch, triton, NumPy and OpenCV alone. `--quick` runs every part in tiny form. A part that fails stands in
the JSON with its error, and the others still run; then the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import torch

from tdn_data.benchmarks import flow, networks, training
from tdn_data.pipeline.errors import InputError

TINY = {"backbone": "resnet18", "width": 8, "num_segments": 3}


def check_device(device: str) -> None:
    """Raise InputError where torch cannot compute on `device`."""
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("torch finds no GPU here; --device cpu runs the same on the processor.", key="device")


def run(device: str, *, quick: bool = False) -> dict[str, object]:
    """Return the numbers of every part on `cpu` or `cuda`; `quick`: small clips, few rounds, three networks."""
    small = {"size": 32, "num_rounds": 1, **TINY} if quick else {}
    pairs = {"height": 48, "width": 64, "num_rounds": 1} if quick else {}
    names = ["tsn", "tdn"] if quick else None
    parts: dict[str, Callable[[], object]] = {"flow": lambda: asdict(flow.run(device=device, **pairs))}
    for precision in ("float32", "bfloat16"):
        parts[f"networks {precision}"] = lambda precision=precision: asdict(
            networks.run(names, device=device, precision=precision, **small)
        )
    few = {"names": names, "ways": ["float32", "bf16"], "num_videos": 2} | small if quick else {}
    parts["training"] = lambda: asdict(training.run(device=device, **few))
    hardware = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    about = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "device": device, "hardware": hardware}
    return about | {"torch": torch.__version__, "parts": {name: _result(call) for name, call in parts.items()}}


def _result(call: Callable[[], object]) -> object:
    try:
        return call()
    except Exception as error:  # whatever one part dies of, the others' numbers are worth having
        return {"error": f"{type(error).__name__}: {error}"}


def failures(result: dict[str, object]) -> list[str]:
    """Return the names of the parts that failed, with their errors."""
    parts = result["parts"].items()
    return [f"{name} ({part['error']})" for name, part in parts if isinstance(part, dict) and "error" in part]


def in_words(result: dict[str, object]) -> str:
    """Return how many parts were measured, and which failed."""
    failed = failures(result)
    return f"{len(result['parts'])} parts on {result['hardware']}" + (
        f", failed: {', '.join(failed)}" if failed else ""
    )


def main() -> int:
    """Run from the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--quick", action="store_true", help="every part in tiny form")
    words = parser.parse_args()
    try:
        check_device(words.device)
    except InputError as error:
        parser.error(error.message)
    result = run(words.device, quick=words.quick)
    words.out.write_text(json.dumps(result, indent=2) + "\n")
    print(f"{words.out}: {in_words(result)}")
    return 1 if failures(result) else 0


if __name__ == "__main__":
    sys.exit(main())
