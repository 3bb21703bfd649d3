"""Networks that give flow as flow methods: a checkpoint of a network over two frames, or any in ONNX.

A network in ONNX gets RGB images as float32 from 0 to 1: either two inputs (N, 3, H, W), the earlier image first, or
one (N, 6, H, W) with the later image's channels behind the earlier's. It gives flow (N, 2, h, w) in pixels of its input
from the earlier to the later, component 0 to the right, 1 down; where h and w are smaller the flow is enlarged. Where
the file fixes H and W, images are resized to them and the vectors scaled back.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdn_data.models.evaluation.evaluate import restore_model
from tdn_data.models.networks import GIVE_FLOW, MODELS
from tdn_data.models.networks.base import VideoNetwork
from tdn_data.models.weights.checkpoint import Checkpoint, read_checkpoint
from tdn_data.models.weights.trained_on import NORMALIZATION
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import check_regular, file_digest
from tdn_data.pipeline.flow.methods import METHODS, build_solver
from tdn_data.pipeline.flow.solver import FlowSolver
from tdn_data.pipeline.parameters import FlowNetwork, FlowParameters

ONNX = "onnx:"
MAKE = "tdn_data.models.evaluation.flow_solver:extraction_solver"
MULTIPLE = 32  # pixels, of which sides are made multiples by repeating the last ones: an encoder halves five times


class NetworkSolver:
    """A network over pairs of RGB images, float32 (N, 6, H, W) from 0 to 1 to flow (N, 2, h, w)."""

    channels = 3

    def __init__(self, compute: Callable[[Tensor], Tensor]) -> None:
        self._compute = compute

    def pairs(self, prev: np.ndarray, next: np.ndarray) -> np.ndarray:
        """Return the flow of each pair, float32 (N, H, W, 2), of uint8 (N, H, W, 3)."""
        height, width = prev.shape[1:3]
        below, right = -height % MULTIPLE, -width % MULTIPLE
        images = torch.from_numpy(np.concatenate([prev, next], axis=-1)).movedim(-1, 1).float() / 255
        images = F.pad(images, (0, right, 0, below), mode="replicate")
        flow = self._compute(images)
        if flow.shape[-2:] != images.shape[-2:]:
            flow = F.interpolate(flow, images.shape[-2:], mode="bilinear", align_corners=False)
        return flow[..., :height, :width].movedim(1, -1).contiguous().numpy()

    def stream(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the flow (H, W, 2) between neighbouring frames (H, W, 3)."""
        before = None
        for frame in frames:
            if before is not None:
                yield self.pairs(before[None], frame[None])[0]
            before = frame


class FlowFromImages(nn.Module):
    """A two-frame network of ours: images float32 (N, 6, H, W) from 0 to 1 to flow (N, 2, h, w)."""

    def __init__(self, network: VideoNetwork) -> None:
        super().__init__()
        self.network = network
        for name, values in zip(("mean", "deviation"), NORMALIZATION["rgb"], strict=True):
            self.register_buffer(name, torch.tensor(values)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """Return the network's finest flow."""
        clip = (images.unflatten(1, (2, 3)) - self.mean) / self.deviation
        return self.network.flow(clip[:, None])[:, 0, 0]


def solver_named(method: str, *, device: str = "auto", **options: object) -> FlowSolver:
    """Return the solver of a method's name: one of the pipeline's, `onnx:FILE`, or a checkpoint's file.

    Raises InputError for a file that is none, and for a network that does not give the flow between two frames.
    """
    if method in METHODS:
        return build_solver(method, device=device, options=options)
    if method.startswith(ONNX):
        return NetworkSolver(_onnx_network(check_regular(_file(method), what="network")))
    return NetworkSolver(_checkpoint_network(_file(method)))


def extraction_solver(method: str) -> FlowSolver:
    """Return the solver of a network's file for a process that extracts: there is one for each core, so one thread."""
    torch.set_num_threads(1)
    return solver_named(method)


def with_network(flow: FlowParameters) -> tuple[FlowParameters, FlowNetwork | None]:
    """Return parameters of flow with the SHA-256 of the network's file that is their method, and the network by name.

    Raises InputError where the file is none that gives flow, or has another content than the parameters name.
    """
    if flow.method in METHODS:
        return flow, None
    file = os.path.abspath(_file(flow.method))
    found = file_digest(file, what="network")
    if flow.network_sha256 not in (None, found):
        words = f"has the SHA-256 {found[:12]}..., and flow of {flow.network_sha256[:12]}... is asked for"
        raise InputError(f"{file} {words}: it is another network.", path=file)
    prefix = ONNX if flow.method.startswith(ONNX) else ""
    network = FlowNetwork(make=MAKE, method=prefix + file, file=file, sha256=found, on_gpu=not prefix)
    solver_named(network.method)
    return flow.model_copy(update={"network_sha256": found}), network


def _file(method: str) -> Path:
    return Path(method.removeprefix(ONNX))


def flow_network(saved: Checkpoint, path: str | os.PathLike[str]) -> FlowFromImages:
    """Return a checkpoint's network as one from two images to their flow; raise InputError where it gives none."""
    model = restore_model(saved)
    check_gives_flow(model, str(path))
    if (model.snippet_length, model.num_fields) != (2, 1):
        raise InputError(
            f"{path} holds {saved.model}, which reads {model.snippet_length} frames at once; the flow of two images "
            "needs a network of two frames, e.g. actionflownet_2f.",
            path=path,
        )
    return FlowFromImages(model).eval()


def check_gives_flow(model: VideoNetwork, where: str | None = None) -> None:
    """Raise InputError, which names the networks that do, for one that gives no flow or lacks the part for it."""
    name = next(name for name, kind in MODELS.items() if kind is type(model))
    words = f"{where} holds {name}, which" if where else name
    if name not in GIVE_FLOW:
        raise InputError(f"{words} gives no flow; these networks do: {', '.join(GIVE_FLOW)}.", key="flow")
    if not model.gives_flow:
        raise InputError(f"{words} was built without the part that gives flow.", key="flow")


def _checkpoint_network(path: Path) -> Callable[[Tensor], Tensor]:
    module = flow_network(read_checkpoint(path), path)
    device = next(module.parameters()).device
    module.to(device)

    @torch.inference_mode()
    def compute(images: Tensor) -> Tensor:
        return module(images.to(device)).float().cpu()

    return compute


def _onnx_network(path: Path) -> Callable[[Tensor], Tensor]:
    if find_spec("onnxruntime") is None:
        raise InputError("networks in ONNX need ONNX Runtime; `pip install onnxruntime`.", key="onnxruntime")
    import onnxruntime

    try:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has a dozen kinds for files that are none of its own
        raise InputError(f"{path} is no network in ONNX that ONNX Runtime can run.", path=path) from error
    inputs = session.get_inputs()
    layout = [(len(one.shape), one.shape[1]) for one in inputs if len(one.shape) > 1]
    if layout not in ([(4, 6)], [(4, 3), (4, 3)]):
        shapes = " and ".join(str(one.shape) for one in inputs)
        raise InputError(f"{path} takes {shapes}; a flow network takes (N, 6, H, W), or (N, 3, H, W) twice.", path=path)
    height, width = (side if isinstance(side, int) else None for side in inputs[0].shape[2:])

    def compute(images: Tensor) -> Tensor:
        size = (height or images.shape[2], width or images.shape[3])
        given = _resized(images, size)
        parts = [given] if len(inputs) == 1 else given.split(3, dim=1)
        feed = {one.name: part.contiguous().numpy() for one, part in zip(inputs, parts, strict=True)}
        flow = torch.from_numpy(np.asarray(session.run(None, feed)[0], np.float32))
        if flow.ndim != 4 or flow.shape[1] != 2:
            raise InputError(f"{path} gives {tuple(flow.shape)}; flow is (N, 2, h, w).", path=path)
        scale = torch.tensor([images.shape[3] / size[1], images.shape[2] / size[0]])
        return flow * scale[:, None, None]

    return compute


def _resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return images (N, C, H, W) at another size."""
    if tuple(images.shape[2:]) == size:
        return images
    return F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
