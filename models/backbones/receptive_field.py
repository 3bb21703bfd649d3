"""Where in an image the places of a layer's map look: their receptive fields, followed through the network as it runs.

A window of k pixels with stride s and padding p, over places that lie d pixels apart and the first of which sees the
pixels [a, b), makes places d s apart, the first of which sees [a - d p, b + d (k - 1 - p)). Branches that meet again
see what any of them sees. Dumoulin & Visin 2016, "A guide to convolution arithmetic for deep learning".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from tdn_data.models.backbones.base import Backbone


@dataclass(frozen=True)
class ReceptiveField:
    """What the places of a map see, in pixels of the image and along one side of it.

    Place i sees [start + i * stride, stop + i * stride), which reaches over the image near its border: there the
    padding is seen.
    """

    stride: int = 1
    start: int = 0
    stop: int = 1

    @property
    def size(self) -> int:
        """Pixels that one place sees."""
        return self.stop - self.start

    def centre(self, place: int) -> float:
        """Return the middle of what a place sees; pixel 0 reaches from 0 to 1."""
        return (self.start + self.stop) / 2 + place * self.stride

    def through(self, kernel: int, stride: int, padding: int, dilation: int = 1) -> ReceptiveField:
        """Return the field of the places that a window over these places makes."""
        reach = dilation * (kernel - 1) - padding
        return ReceptiveField(self.stride * stride, self.start - self.stride * padding, self.stop + self.stride * reach)


def receptive_field(network: Backbone, layer: str, side: int) -> ReceptiveField:
    """Return the field of a layer's places for square images of `side` pixels; one blank image runs up to the layer.

    Raises ValueError that lists the network's layers for an unknown one.
    """
    weight = next(network.parameters())
    image = torch.zeros(1, 3, side, side, device=weight.device, dtype=weight.dtype).as_subclass(_Followed)
    with torch.no_grad():
        return network.feature_map(image, layer).field


class _Followed(Tensor):
    """A tensor that carries the field of its places through what is computed with it."""

    field = ReceptiveField()

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: Iterable[type], args: tuple = (), kwargs: dict | None = None
    ) -> object:
        result = super().__torch_function__(func, types, args, kwargs or {})
        fields = [one.field for one in tree_leaves((args, kwargs)) if isinstance(one, cls)]
        if isinstance(result, cls) and fields:
            field = _together(fields)
            window = _WINDOWS.get(getattr(func, "__name__", ""))
            result.field = field if window is None else field.through(*map(_along_rows, window(*args, **kwargs or {})))
        return result


def _together(fields: list[ReceptiveField]) -> ReceptiveField:
    return ReceptiveField(
        max(one.stride for one in fields), min(one.start for one in fields), max(one.stop for one in fields)
    )


def _convolution_window(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: object = 1, padding: object = 0,
    dilation: object = 1, groups: int = 1,
) -> tuple[object, ...]:  # fmt: skip
    return weight.shape[-1], stride, padding, dilation


def _pooling_window(
    x: Tensor, kernel_size: object, stride: object = None, padding: object = 0, *_: object, **__: object
) -> tuple[object, ...]:
    return kernel_size, kernel_size if stride is None else stride, padding


_WINDOWS = {"conv2d": _convolution_window, "max_pool2d": _pooling_window, "avg_pool2d": _pooling_window}


def _along_rows(value: object) -> int:
    """Return the last of a pair's numbers; images, windows and steps are square."""
    return value if isinstance(value, int) else tuple(value)[-1]
