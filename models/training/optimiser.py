"""Steps of the optimiser: SGD with momentum or Adam, with what may come before and after a step.

Parts of a network can have rates of their own (Zhao et al., section 4, of their branches), gradients a largest norm,
sums of micro-batches stand for a batch, products may be computed in half precision, and an average follows the weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tdn_data.models.networks.base import VideoNetwork
from tdn_data.models.training.config import Part, TrainConfig
from tdn_data.models.training.learning_rate import learning_rate_at
from tdn_data.pipeline.errors import InputError

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}
BF16_TOLERANCE = 0.05  # of results around 1; bfloat16 has 8 bits


class Optimiser:
    """The optimiser of one phase of a training, and the scaler of half-precision gradients."""

    def __init__(self, model: nn.Module, config: TrainConfig, device: torch.device) -> None:
        self._config, self._model = config, model
        self._parts, groups = parameter_groups(model, config)
        self._optimizer = build_optimizer(groups, config)
        self._scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")

    @property
    def learning_rate(self) -> float:
        """The rate of the network, or of its first part where it is all parts."""
        return self._optimizer.param_groups[0]["lr"]

    def set_rates(self, moment: float, left: float) -> None:
        """Set each part's rate for a moment of the training; `left` is what a plateau has left of it."""
        for part, group in zip(self._parts, self._optimizer.param_groups, strict=True):
            group["lr"] = learning_rate_at(moment, self._config, part=part, left=left)

    def clear(self) -> None:
        """Forget the gradients of the step before, before those of the next are added up."""
        self._optimizer.zero_grad(set_to_none=True)

    def add(self, loss: Tensor) -> None:
        """Add the gradients of a loss."""
        self._scaler.scale(loss).backward()

    def step(self) -> None:
        """Change the weights by the gradients that were added, shortened to `clip_norm`."""
        if self._config.clip_norm is not None:
            self._scaler.unscale_(self._optimizer)
            torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._config.clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()

    def state(self) -> dict[str, object]:
        """Return the state as tensors and plain values."""
        return {"optimizer": self._optimizer.state_dict(), "scaler": self._scaler.state_dict()}

    def restore(self, state: dict[str, object]) -> None:
        """Go back to a state that was taken."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])


def parameter_groups(model: nn.Module, config: TrainConfig) -> tuple[list[Part | None], list[dict[str, object]]]:
    """Return the parts of a network that have parameters, the rest (None) first, and their groups for an optimiser.

    A parameter belongs to the first part that names it.
    """
    of_part: dict[Part | None, list[nn.Parameter]] = {None: [], **{part: [] for part in config.parts}}
    for name, parameter in model.named_parameters():
        of_part[next((part for part in config.parts if name.startswith(part.prefix)), None)].append(parameter)
    parts = [part for part, parameters in of_part.items() if parameters]
    groups = []
    for part in parts:
        decay = config.weight_decay if part is None or part.weight_decay is None else part.weight_decay
        groups.append({"params": of_part[part], "weight_decay": decay})
    return parts, groups


def build_optimizer(groups: list[dict[str, object]], config: TrainConfig) -> torch.optim.Optimizer:
    """Return the optimiser of groups of parameters; those without a gradient stay as they are."""
    options = {"lr": config.learning_rate, **({"fused": True} if config.fused else {})}
    if config.optimizer == "adam":
        return torch.optim.Adam(groups, betas=(config.momentum, 0.999), **options)
    return torch.optim.SGD(groups, momentum=config.momentum, **options)


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """Return the average of a model's weights and statistics: after each step decay * average + (1 - decay) * model.

    The first step's weights begin it.
    """
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


def check_parts(model: VideoNetwork, config: TrainConfig) -> None:
    """Raise InputError for a beginning of a name that no parameter of the network has."""
    names = [name for name, _ in model.named_parameters()]
    asked = {
        "parts": [part.prefix for part in config.parts],
        "fixed": list(config.fixed or ()),
        "free": list(config.free),
    }
    for key, prefixes in asked.items():
        for prefix in prefixes:
            if not any(name.startswith(prefix) for name in names):
                known = ", ".join(dict.fromkeys(f"{name.partition('.')[0]}." for name in names))
                raise InputError(f"{key}: no parameter begins with {prefix!r}; the network has {known}.", key=key)
    fixed, free = tuple(config.fixed or ()), tuple(config.free)
    if fixed and all(name.startswith(fixed) and not name.startswith(free) for name in names):
        raise InputError("fixed: nothing is left that learns; name in free what does.", key="fixed")
    parts, length = parameter_groups(model, config)[0], config.length
    last = max(length if part is None or part.end is None else part.end for part in parts)
    if last < length:
        raise InputError(
            f"parts: all of the network ends after {last} of {length} {config.unit}; set {config.unit} to {last}.",
            key="parts",
        )


def check_precision(precision: str, device: torch.device) -> None:
    """Raise InputError where a device does not compute in a precision, or computes wrong."""
    if precision == "fp16" and device.type == "cpu":
        raise InputError("precision is 'fp16'; a CPU trains with float32 or bf16: set one of them.", key="precision")
    if precision == "bf16" and not _bf16_is_right(device):
        raise InputError(
            "precision is 'bf16', in which torch computes wrong or not at all here; set float32.", key="precision"
        )


def _bf16_is_right(device: torch.device) -> bool:
    """Return whether a small convolution and its gradient come out in bfloat16 nearly as in float32."""
    generator = torch.Generator().manual_seed(0)
    image, weight = torch.randn(2, 16, 14, 14, generator=generator), torch.randn(16, 16, 3, 3, generator=generator) / 12
    results = []
    for dtype in (torch.float32, torch.bfloat16):
        x = image.to(device, dtype, memory_format=torch.channels_last).requires_grad_()
        try:
            y = torch.nn.functional.conv2d(x, weight.to(device, dtype), padding=1)
            y.square().mean().backward()
        except RuntimeError:
            return False
        results.append((y.detach().float(), 100 * x.grad.float()))
    return all(torch.allclose(*pair, atol=BF16_TOLERANCE, rtol=BF16_TOLERANCE) for pair in zip(*results, strict=True))
