"""The numbers of TV-L1, named as in Zach, Pock, Bischof 2007, and the two sets OpenCV has made the field's standard."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cached_property

MIN_LEVEL_SIZE = 16  # pixels; OpenCV adds no pyramid level with a side below this


def _require(name: str, value: object, holds: bool, allowed: str) -> None:
    if not holds:
        raise ValueError(f"{name} is {value!r}; it must be {allowed}")


def _round_half_even(value: float) -> int:
    """OpenCV rounds sizes to the nearest integer, halves to the even one; never to nothing."""
    return max(int(round(value)), 1)


@dataclass(frozen=True)
class TVL1Parameters:
    """Everything that decides a TV-L1 flow field. Defaults: `cv2.optflow.DualTVL1OpticalFlow_create()`."""

    tau: float = 0.25  # time step of the dual ascent
    lambda_: float = 0.15  # weight of the data term against smoothness
    theta: float = 0.3  # tightness of the coupling between the two problems
    num_scales: int = 5  # pyramid levels at most
    scale_step: float = 0.8  # size of a level relative to the one below it
    num_warps: int = 5  # linearisations per level
    epsilon: float = 0.01  # stop when a step moves the flow by less, root mean square in pixels
    inner_iterations: int = 30  # between two median filterings
    outer_iterations: int = 10  # median filterings per warp at most
    median_size: int = 5  # 5 x 5, or 1 for none
    cubic_coefficient: float = -0.75  # of the bicubic kernel; -0.5 is Catmull-Rom
    edge_pixels: bool = False  # sampling outside an image: repeat its edge (True) or zero (False)
    centered_resize: bool = True  # resizing aligns pixel areas (True) or the centres of the first pixels (False)
    sparse_check: bool = False  # the stopping test skips steps in the way of OpenCV's CUDA class
    fast: bool = False  # on a CPU: fewer instructions a step, whose last digits are not OpenCV's

    def __post_init__(self) -> None:
        for name in ("tau", "lambda_", "theta"):
            _require(name, getattr(self, name), getattr(self, name) > 0, "above 0")
        _require("scale_step", self.scale_step, 0 < self.scale_step < 1, "between 0 and 1")
        _require("epsilon", self.epsilon, self.epsilon >= 0, "0 or more")
        for name in ("num_scales", "num_warps", "inner_iterations", "outer_iterations"):
            _require(name, getattr(self, name), getattr(self, name) >= 1, "1 or more")
        _require("median_size", self.median_size, self.median_size in (1, 5), "5, or 1 for none")

    @cached_property
    def threshold(self) -> float:
        """The largest data step lambda * theta (Zach et al., eq. 15)."""
        return self.lambda_ * self.theta

    @cached_property
    def dual_step(self) -> float:
        """tau / theta (Zach et al., eq. 14)."""
        return self.tau / self.theta

    def level_shapes(self, height: int, width: int) -> list[tuple[int, int]]:
        """Return the pyramid's sizes, finest first; an image below 16 pixels a side has one level, itself."""
        shapes = [(height, width)]
        while len(shapes) < self.num_scales:
            smaller = tuple(_round_half_even(side * self.scale_step) for side in shapes[-1])
            if min(smaller) < MIN_LEVEL_SIZE:
                break
            shapes.append(smaller)
        return shapes


PRESETS = {
    "opencv": TVL1Parameters(),
    "fast": TVL1Parameters(fast=True),
    # cv2.cuda.OpticalFlowDual_TVL1: 300 steps in one go, no median, and its own ways of sampling and stopping
    "opencv-cuda": TVL1Parameters(
        inner_iterations=300,
        outer_iterations=1,
        median_size=1,
        cubic_coefficient=-0.5,
        edge_pixels=True,
        centered_resize=False,
        sparse_check=True,
    ),
}


def tvl1_parameters(preset: str = "opencv", **changes: float) -> TVL1Parameters:
    """Return a preset with single parameters changed; ValueError or TypeError names what is allowed."""
    if preset not in PRESETS:
        raise ValueError(f"preset is {preset!r}; known presets: {', '.join(PRESETS)}")
    base = PRESETS[preset]
    known = [field.name for field in fields(base)]
    unknown = sorted(set(changes) - set(known))
    if unknown:
        raise TypeError(f"tvl1 takes no option {', '.join(unknown)}; known options: preset, {', '.join(known)}")
    values = {name: _typed(name, value, type(getattr(base, name))) for name, value in changes.items()}
    return TVL1Parameters(**{name: values.get(name, getattr(base, name)) for name in known})


def _typed(name: str, value: object, kind: type) -> object:
    """Return `value` as the parameter's type; an int serves as a float, nothing else is converted."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        wanted = "a finite float" if kind is float else f"of type {kind.__name__}"
        raise TypeError(f"{name} is {value!r}; it must be {wanted}")
    return value
