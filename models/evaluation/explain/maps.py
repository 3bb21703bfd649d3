"""Which places of a clip speak for a class: three kinds of maps, small and without colours.

Class activation maps (Zhou et al., CVPR 2016; Ng & Davis, figure 3) apply a subnetwork's classifier at each place of
its last map, before the mean: the mean of a map over its places, and over the clip's maps, is the subnetwork's score.

Grad-CAM (Selvaraju et al., IJCV 2020; Wang et al., supplement C) sums the channels of any stage's map, each weighted by
the mean over its places of the score's gradient, and keeps what is positive. A stage's map is what the next stage
reads, with what was fused into it on the way (S-TDM, temporal differences).

Occlusion (Zeiler & Fergus, ECCV 2014; Ng's dissertation, section 4.4.3.1 and figure 4.4) puts a black square over the
same place of all frames: a place's value is the share of the class's probability that is lost, the mean over the
squares that covered it. The side of the square is not given; here it is a quarter of the frame's, in steps of half a
square.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from torch import Tensor

from tdn_data.models.backbones.base import Backbone
from tdn_data.models.clips.pixels import normalize_batch
from tdn_data.models.evaluation.flow_solver import check_gives_flow
from tdn_data.models.evaluation.metrics import probabilities_of
from tdn_data.models.networks.base import VideoNetwork
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.progress import OnProgress, reported

SQUARE = 4  # squares side by side
Maps = dict[str, np.ndarray]  # subnetwork -> its maps of one clip, float32 (M, h, w)


def check_method(model: VideoNetwork, method: str, layer: str | None = None) -> None:
    """Raise InputError where a network has no picture of a method: `cam`, `gradcam`, `occlusion` or `flow`."""
    if method == "cam":
        _averaging_heads(model)
    elif method == "gradcam":
        _check_layer(model, layer)
    elif method == "flow":
        check_gives_flow(model)


def activation_maps(model: VideoNetwork, clip: Tensor, number: int) -> Maps:
    """Return the class activation maps of each stream for one clip (1, S, K, C, H, W) and a class.

    Raises InputError for a network that has none: its scores are no mean of what a classifier says of single places.
    """
    heads = _averaging_heads(model)
    with torch.inference_mode():
        with recorded(model) as maps:
            model(clip)
        found = {}
        for stream, (backbone, head) in heads.items():
            last = _joined(maps[_name_of(model, backbone), _stages(backbone)[-1]])
            found[stream] = _plain(_at_places(head, last)[..., number])
    return found


def gradient_maps(model: VideoNetwork, clip: Tensor, number: int, *, layer: str | None = None) -> Maps:
    """Return the Grad-CAM maps of a stage, by default the last, for one clip (1, S, K, C, H, W) and a class.

    Raises InputError, naming the stages, for one that no backbone of the network has.
    """
    known = _check_layer(model, layer)
    with torch.enable_grad(), recorded(model) as maps:
        score = model(clip.detach().clone().requires_grad_())[0, number]
    found = {}
    for name, backbone in _backbones(model).items():
        parts = maps.get((name, layer or _stages(backbone)[-1]), [])
        gradients = torch.autograd.grad(score, parts, retain_graph=True, allow_unused=True) if parts else ()
        if gradients and all(one is not None for one in gradients):
            found[name] = _plain(_weighted(_joined(parts), torch.cat(gradients)))
    if not found:
        words = f"{type(model).__name__} reads no map of {layer or known[-1]}; name another --layer"
        raise InputError(f"{words}: {', '.join(known)}.", key="layer")
    return found


def occlusion_map(
    model: VideoNetwork,
    levels: np.ndarray,
    number: int,
    *,
    multi_label: bool,
    on_progress: OnProgress | None = None,
) -> np.ndarray:
    """Return float32 (H, W) for a clip of levels, uint8 (S, K, H, W, C), and a class: the share that is lost.

    1: all of the class's probability is gone where the square lies; below 0: it rose. Flow is covered by no motion.
    `multi_label` is whether a video has several labels. `on_progress` counts squares.
    """
    height, width, channels = levels.shape[2:]
    squares = list(_squares(height, width))
    device = next(model.parameters()).device
    lost, covered = np.zeros((height, width)), np.zeros((height, width))

    def probability(clip: np.ndarray) -> float:
        with torch.inference_mode():
            scores = model(normalize_batch(torch.from_numpy(clip)[None].to(device)))
        return float(probabilities_of(scores[0].float().cpu().numpy(), multi_label=multi_label)[number])

    before = probability(levels)
    for rows, columns in reported(squares, len(squares), on_progress):
        hidden = levels.copy()
        hidden[:, :, rows, columns] = 0 if channels == 3 else 128
        lost[rows, columns] += (before - probability(hidden)) / max(before, 1e-12)
        covered[rows, columns] += 1
    return (lost / covered).astype(np.float32)


def _averaging_heads(model: VideoNetwork) -> dict[str, tuple[Backbone, Callable[[Tensor], Tensor]]]:
    """Return the heads, by stream, that give the mean of what they say of single places; InputError for none."""
    heads = {stream: pair for stream, pair in model.place_heads().items() if _reads_mean(*pair)}
    if not heads:
        raise InputError(
            f"{type(model).__name__} has no class activation maps: its scores are no mean over the places of a map; "
            "use --method gradcam.",
            key="cam",
        )
    return heads


def _check_layer(model: VideoNetwork, layer: str | None) -> list[str]:
    """Return the stages of a network's backbones; raise InputError where `layer` is none of them."""
    known = list(dict.fromkeys(name for backbone in model.backbones() for name in _stages(backbone)))
    if layer is not None and layer not in known:
        raise InputError(f"no layer is called {layer!r}; the layers are {', '.join(known)}.", key=layer)
    return known


@contextmanager
def recorded(model: VideoNetwork) -> Iterator[dict[tuple[str, str], list[Tensor]]]:
    """Record the map of each stage while the network runs: (backbone's name, stage) -> a tensor for each call.

    A stage is no module everywhere, so that hooks would miss some: what a backbone runs through is its `layers()`,
    which are wrapped as long as this lasts.
    """
    maps: dict[tuple[str, str], list[Tensor]] = {}
    backbones = _backbones(model)
    for name, backbone in backbones.items():
        stages = backbone.layers()
        before = [None, *(stage for stage, _ in stages)]
        wrapped = [
            (stage, partial(_run, maps, name, previous, stage, run))
            for previous, (stage, run) in zip(before, stages, strict=False)
        ]
        backbone.layers = partial(tuple, wrapped)
    try:
        yield maps
    finally:
        for backbone in backbones.values():
            del backbone.layers


def _run(maps, backbone: str, previous: str | None, stage: str, run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Run a stage, and note its map; the one before it is what this one reads, if nothing has changed its size."""
    read = maps.get((backbone, previous))
    if read and read[-1].shape == x.shape:
        read[-1] = x
    out = run(x)
    maps.setdefault((backbone, stage), []).append(out)
    return out


def _backbones(model: VideoNetwork) -> dict[str, Backbone]:
    return {name: module for name, module in model.named_modules() if isinstance(module, Backbone)}


def _name_of(model: VideoNetwork, backbone: Backbone) -> str:
    return next(name for name, one in _backbones(model).items() if one is backbone)


def _stages(backbone: Backbone) -> list[str]:
    return [name for name, _ in backbone.layers()]


def _reads_mean(backbone: Backbone, head: Callable[[Tensor], Tensor]) -> bool:
    """Tell whether a head gives for a map the mean of what it gives for its places: AlexNet's and VGG's do not."""
    parameter = next(backbone.parameters())
    shape = (1, backbone.num_features, *(2,) * (parameter.ndim - 2))
    x = torch.linspace(-1, 1, int(np.prod(shape)), device=parameter.device, dtype=parameter.dtype).reshape(shape)
    with torch.inference_mode():
        places = _at_places(head, x).flatten(0, -2)
        return torch.allclose(head(x)[0], places.mean(0), rtol=1e-3, atol=1e-4)


def _at_places(head: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return what a head says of each place of maps (M, c, ...), (M, ..., num_classes)."""
    places = x.movedim(1, -1)
    scores = head(places.flatten(0, -2).reshape(-1, x.shape[1], *(1,) * (x.ndim - 2)))
    return scores.reshape(*places.shape[:-1], -1)


def _weighted(x: Tensor, gradient: Tensor) -> Tensor:
    """Return Grad-CAM (M, ...) of maps and their gradients (M, c, ...)."""
    weights = gradient.mean(tuple(range(2, x.ndim)), keepdim=True)
    return (weights * x).sum(1).relu()


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat([part.detach() for part in parts])


def _plain(maps: Tensor) -> np.ndarray:
    """Return maps (M, h, w), or (M, t, h, w) over time, as float32 (M, h, w)."""
    return maps.flatten(0, -3).float().cpu().numpy()


def _squares(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Yield the rows and columns of each square; together they cover the frame."""
    side = max(1, min(height, width) // SQUARE)
    step = max(1, side // 2)
    tops, lefts = (sorted({*range(0, length - side, step), length - side}) for length in (height, width))
    yield from ((slice(top, top + side), slice(left, left + side)) for top in tops for left in lefts)
