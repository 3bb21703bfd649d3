"""Milliseconds per video of every registered network, with TSN-ResNet-50's in the same interleaved run.

Each network has its default form (backbone, segments, frames: those of its paper). Its normalisations have a clip's
statistics and are folded as in evaluation; it sees a random clip that lies in memory as it likes it, channels-last. On
the CPU with one thread processor time counts, which other processes disturb less; otherwise wall time. Wang et al.'s
supplement (section B, table 2) counts the loading of data, too: with shards, each network is also timed on clips
that are read, decoded and normalised for each call. Zhao et al. (table 9) count displacement maps and classification
apart: a network that gives flow is also timed on its flow alone, which `disentangled` computes on its way to scores.
"""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import torch
import yaml
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tdn_data.models import MODELS, build_model
from tdn_data.models.networks.base import VideoNetwork
from tdn_data.models.networks.cost import default_clip_shape, model_cost
from tdn_data.models.networks.folding import fold_norms
from tdn_data.models.threads import torch_threads

PEER = "tsn"
LOADING, FLOW = "with loading", "flow alone"
NUM_CLASSES = 400
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}

Call = Callable[..., Tensor]
Load = Callable[[], Tensor]  # the next batch of clips


@dataclass(frozen=True)
class NetworkTimes:
    """One network: what a video costs it, and the median time per video."""

    name: str
    clip_shape: tuple[int, ...]  # (N, S, K, C, H, W)
    parameters: int
    multiply_adds: int  # per video
    milliseconds: float  # per video
    fastest_milliseconds: float
    loading_milliseconds: float | None = None  # per video, with the reading of its clip; None where none is read
    flow_milliseconds: float | None = None  # per video, of its flow alone; None where the network gives none


@dataclass(frozen=True)
class NetworksTimes:
    """All networks of a run, TSN-ResNet-50 first, and where it ran."""

    device: str
    precision: str
    num_threads: int
    num_rounds: int
    hardware: str
    networks: tuple[NetworkTimes, ...]
    versions: dict[str, str]

    @property
    def ratios(self) -> dict[str, float]:
        """Each network's time over TSN-ResNet-50's."""
        return {network.name: network.milliseconds / self.networks[0].milliseconds for network in self.networks}

    @property
    def cost_ratios(self) -> dict[str, float]:
        """Each network's multiply-adds over TSN-ResNet-50's."""
        return {network.name: network.multiply_adds / self.networks[0].multiply_adds for network in self.networks}


def run(
    names: Sequence[str] | None = None,
    *,
    device: str = "auto",
    num_videos: int = 1,
    size: int = 224,
    num_rounds: int = 5,
    num_threads: int = 1,
    precision: str = "float32",
    clips_of: Callable[[tuple[int, ...], str], Load] | None = None,
    **options: object,
) -> NetworksTimes:
    """Time `names` (None: every registered network) and TSN-ResNet-50 in turn, `num_rounds` times after a warm-up.

    A name may have options of its own behind it, `tdn_wang:long_term=[]:temporal=[]`, each value as YAML has it:
    S-TDM and L-TDM alone (Wang et al., supplement, table 2), single branches (Zhao et al., table 9).
    `num_videos` clips of `size` pixels go in at once. `device`: "cpu", "cuda" or "auto". `precision`: "float32", or
    autocast to "bfloat16" or "float16". With `clips_of`, which for a batch's shape and a device gives what loads the
    next batch (`stored_clips.StoredClips` from shards), each is timed again with the loading of its clips. `options`
    go to every network, e.g. `num_segments=16`. Raises ValueError for wrong arguments, among them networks whose
    scores are not finite.
    """
    variants = _variants(MODELS if names is None else names)
    if min(num_videos, num_rounds, num_threads) < 1 or precision not in PRECISIONS:
        raise ValueError(
            f"num_videos is {num_videos}, num_rounds {num_rounds}, num_threads {num_threads}, precision {precision!r}; "
            f"counts start at 1, known precisions: {', '.join(PRECISIONS)}"
        )
    device = _checked_device(device)
    with torch_threads(num_threads), torch.inference_mode():
        networks = {label: _built(label, name, options | own).eval() for label, (name, own) in variants.items()}
        shapes = {name: default_clip_shape(model, num_videos=num_videos, size=size) for name, model in networks.items()}
        costs = {name: model_cost(model, (1, *shapes[name][1:])) for name, model in networks.items()}
        loads = {} if clips_of is None else {name: clips_of(shapes[name], device) for name in networks}
        calls = {name: _call(model, shapes[name], device, precision) for name, model in networks.items()}
        giving = {name: model for name, model in networks.items() if model.gives_flow}
        flows = {(name, FLOW): _flow_call(model, shapes[name], device, precision) for name, model in giving.items()}
        for name, call in calls.items():
            if not call().isfinite().all():
                raise ValueError(f"{name} gives scores that are not finite in {precision}")
        loading = {(name, LOADING): partial(_loaded, calls[name], load) for name, load in loads.items()}
        seconds = _interleaved(calls | loading | flows, num_rounds, _clock(device, num_threads))

    def typical(*key: object) -> float | None:
        return 1e3 * median(seconds[key]) / num_videos if key in seconds else None

    records = tuple(
        NetworkTimes(
            name=name,
            clip_shape=shapes[name],
            parameters=costs[name].parameters,
            multiply_adds=costs[name].multiply_adds,
            milliseconds=1e3 * median(seconds[name]) / num_videos,
            fastest_milliseconds=1e3 * min(seconds[name]) / num_videos,
            loading_milliseconds=typical(name, LOADING),
            flow_milliseconds=typical(name, FLOW),
        )
        for name in variants
    )
    versions = {"torch": torch.__version__, "python": platform.python_version()}
    return NetworksTimes(device, precision, num_threads, num_rounds, _hardware(device), records, versions)


def format_times(result: NetworksTimes) -> str:
    """The result as a table of text: input, parameters, multiply-adds, time, both ratios, versions."""
    threads = f", threads: {result.num_threads}" if result.device == "cpu" else ""
    width = max(16, *(len(network.name) for network in result.networks))
    loading = any(network.loading_milliseconds is not None for network in result.networks)
    flow = any(network.flow_milliseconds is not None for network in result.networks)
    lines = [f"networks on {result.hardware}, {result.precision}{threads}, median of {result.num_rounds} rounds"]
    lines.append(
        f"  {'network':{width}} {'S x K x C x H x W':>22} {'params':>8} {'mult-adds':>10} {'time':>12}"
        f" {'x cost':>7} {'x time':>7}" + (f" {LOADING:>13}" if loading else "") + (f" {FLOW:>13}" if flow else "")
    )
    lines += [
        f"  {network.name:{width}} {' x '.join(map(str, network.clip_shape[1:])):>22} {network.parameters / 1e6:6.1f} M"
        f" {network.multiply_adds / 1e9:8.1f} G {network.milliseconds:9.1f} ms"
        f" {result.cost_ratios[network.name]:7.2f} {result.ratios[network.name]:7.2f}"
        + (_time(network.loading_milliseconds) if loading else "")
        + (_time(network.flow_milliseconds) if flow else "")
        for network in result.networks
    ]
    lines.append("  " + ", ".join(f"{name} {version}" for name, version in result.versions.items()))
    return "\n".join(lines)


def _time(milliseconds: float | None) -> str:
    return f" {milliseconds:10.1f} ms" if milliseconds is not None else f" {'-':>13}"


def _call(model: VideoNetwork, shape: tuple[int, ...], device: str, precision: str) -> Call:
    """Return a function that runs the network once, on a clip of its own or a given one, and waits for the result."""
    model.to(device, memory_format=model.memory_format)
    clip = _clip(shape, device)
    fold_norms(_calibrated(model, clip))
    return _waited(model, clip, device, precision)


def _flow_call(model: VideoNetwork, shape: tuple[int, ...], device: str, precision: str) -> Call:
    """Return a function that computes the flow of the network's clip alone, and waits for it."""
    return _waited(model.flow, _clip(shape, device), device, precision)


def _clip(shape: tuple[int, ...], device: str) -> Tensor:
    clip = torch.randn(shape, device=device, generator=torch.Generator(device).manual_seed(0))
    if shape[2] == 1:  # one frame a snippet: the images lie channels-last as a loader would hand them on
        clip = clip.movedim(3, -1).contiguous().movedim(-1, 3)
    return clip


def _waited(compute: Callable[[Tensor], Tensor], clip: Tensor, device: str, precision: str) -> Call:
    """Return a function that computes once, on a clip or a given one, and waits for the result."""
    dtype = PRECISIONS[precision]

    def call(given: Tensor | None = None) -> Tensor:
        with torch.autocast(device, dtype, enabled=dtype is not None):
            found = compute(clip if given is None else given)
        if device == "cuda":
            torch.cuda.synchronize()
        return found

    return call


def _loaded(call: Call, load: Load) -> Tensor:
    """Load the next clips and run a network once on them."""
    return call(load())


def _calibrated(model: nn.Module, clip: Tensor) -> nn.Module:
    """Give the normalisations a clip's statistics: values of a trained network's size, not ones that grow by layer.

    Far from zero, exponentials take longer.
    """
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.momentum = None
    model.train()(clip)
    return model.eval()


def _interleaved(
    calls: Mapping[object, Callable[[], Tensor]], num_rounds: int, clock: Callable[[], float]
) -> dict[object, list[float]]:
    """Return the seconds of each call in each round; a round runs every call once."""
    seconds = {name: [] for name in calls}
    for _ in range(num_rounds):
        for name, call in calls.items():
            start = clock()
            call()
            seconds[name].append(clock() - start)
    return seconds


def _clock(device: str, num_threads: int) -> Callable[[], float]:
    return time.process_time if device == "cpu" and num_threads == 1 else time.perf_counter


def _variants(names: Sequence[str]) -> dict[str, tuple[str, dict[str, object]]]:
    """Return label -> (network, its own options) of NAME or NAME:KEY=VALUE:..., TSN first."""
    found = {PEER: (PEER, {})} | {label: _variant(label) for label in names}
    if unknown := [name for name, _ in found.values() if name not in MODELS]:
        raise ValueError(f"names has {', '.join(map(repr, unknown))}; known models: {', '.join(MODELS)}")
    return found


def _variant(label: str) -> tuple[str, dict[str, object]]:
    name, *settings = label.split(":")
    options = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        try:
            options[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            equals = ""
        if not equals or not key.isidentifier():
            raise ValueError(f"names has {label!r}; write NAME:OPTION=VALUE, e.g. tdn_wang:long_term=[]")
    return name, options


def _built(label: str, name: str, options: Mapping[str, object]) -> VideoNetwork:
    try:
        return build_model(name, num_classes=NUM_CLASSES, **options)
    except TypeError as error:
        unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if unknown is None:
            raise
        raise ValueError(f"names has {label!r}; {name} has no option {unknown[1]}") from error


def _checked_device(device: str) -> str:
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device is {device!r}; allowed: auto, cpu, cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is 'cuda', and no such device is here; use 'cpu'")
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"


def _hardware(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
