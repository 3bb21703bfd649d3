"""Training steps a second of networks, with and without torch.compile and half precision, in one run.

A step is what a training does with a batch that lies on the device: losses, gradients, SGD with momentum. Reading and
decoding clips is another benchmark's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import torch

from tdn_data.models import build_model
from tdn_data.models.networks.base import VideoNetwork
from tdn_data.models.networks.cost import default_clip_shape
from tdn_data.models.threads import torch_threads
from tdn_data.models.training.speed import laid_out
from tdn_data.pipeline.machine import installed_versions

NUM_CLASSES = 400
WARMUP_STEPS = 3
WAYS = {  # name -> (bfloat16 with channels last and a fused optimiser, compiled)
    "float32": (False, False),
    "float32 compiled": (False, True),
    "bf16": (True, False),
    "bf16 compiled": (True, True),
}


@dataclass(frozen=True)
class StepTimes:
    """One network trained in one way; `error` where it could not be."""

    network: str
    way: str
    clip_shape: tuple[int, ...]  # (N, S, K, C, H, W)
    steps_per_second: float | None
    first_step_seconds: float | None  # with compiling
    error: str | None = None


@dataclass(frozen=True)
class TrainingTimes:
    """Every network in every way."""

    steps: tuple[StepTimes, ...]
    versions: dict[str, str]


def run(
    names: Sequence[str] = ("tsn", "tdn", "tdn_wang"),
    *,
    device: str,
    num_videos: int = 8,
    size: int = 224,
    num_rounds: int = 10,
    ways: Sequence[str] = tuple(WAYS),
    num_threads: int | None = None,
    **options: object,
) -> TrainingTimes:
    """Time training steps of `num_videos` clips of `size` pixels; `options` go to every network."""
    results = []
    with torch_threads(num_threads):
        for name in names:
            for way in ways:
                model = build_model(name, num_classes=NUM_CLASSES, **options)
                shape = default_clip_shape(model, num_videos=num_videos, size=size)
                try:
                    times = _time_steps(_step(model, shape, device, *WAYS[way]), device, num_rounds)
                    results.append(StepTimes(name, way, shape, *times))
                except RuntimeError as error:  # too little memory, nothing to compile with
                    results.append(StepTimes(name, way, shape, None, None, str(error).splitlines()[0]))
    return TrainingTimes(tuple(results), installed_versions(("torch", "triton")))


def format_times(result: TrainingTimes) -> str:
    """Return a line for each network and way."""
    lines = [
        f"{one.network:<10} {one.way:<18} "
        + (f"{one.steps_per_second:8.2f} steps/s" if one.error is None else f"failed: {one.error}")
        for one in result.steps
    ]
    return "\n".join([*lines, ", ".join(f"{name} {version}" for name, version in result.versions.items())])


def _step(model: VideoNetwork, shape: tuple[int, ...], device: str, half: bool, compiled: bool) -> Callable[[], None]:
    """Return a function that takes one step."""
    model.to(device, memory_format=model.memory_format).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, fused=half)
    generator = torch.Generator(device).manual_seed(0)
    clips = torch.randn(shape, device=device, generator=generator)
    clips = laid_out(clips) if half else clips
    targets = torch.arange(shape[0], device=device) % NUM_CLASSES
    losses = torch.compile(model.class_losses) if compiled else model.class_losses

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=half):
            found = losses(clips, targets)
        found.total.backward()
        optimizer.step()

    return step


def _time_steps(step: Callable[[], None], device: str, num_rounds: int) -> tuple[float, float]:
    """Return steps a second, the median's, and the seconds of the first step."""
    seconds = []
    for _ in range(1 + WARMUP_STEPS + num_rounds):
        started = time.perf_counter()
        step()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return 1 / median(seconds[1 + WARMUP_STEPS :]), seconds[0]
