"""TV-L1 on a GPU: batches of pairs go over, are solved by the kernels in `kernels_triton`, and come back.

This is the one module of the pipeline that imports torch; it is imported when a GPU is asked for or found.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import torch
import triton

from tdn_data.pipeline.flow.kernels_triton import PLANES, resize_kernel, solve_kernel
from tdn_data.pipeline.flow.pyramid import linear_taps
from tdn_data.pipeline.flow.tvl1_parameters import TVL1Parameters

_log = logging.getLogger(__name__)

_BLOCK = 1024  # pixels a program holds at a time: two a thread, which still fit its registers
_NUM_WARPS = 16  # of 32 threads
MAX_BATCH_BYTES = 4 << 30  # of one batch: 256 pairs at 640 x 270, 5 at 3840 x 2160
# float32 a pixel: working memory, image at all levels (1 / (1 - 0.8**2)), flow at two levels and in order for the copy;
# on the host the flow twice, of which once pinned; the images as bytes on either side
_BYTES_PER_PIXEL = 4 * (PLANES + 3 + 6) + 2 * 8 + 4


def pairs_at_once(height: int, width: int, *, most: int) -> int:
    """Return how many pairs one batch takes: no more than `most`, or than fit MAX_BATCH_BYTES, and at least one."""
    return max(min(most, MAX_BATCH_BYTES // (_BYTES_PER_PIXEL * height * width)), 1)


class TVL1CudaSolver:
    """TV-L1 on a GPU, at most `batch_size` pairs at a time, fewer where they are large (`pairs_at_once`).

    Where memory runs out all the same, the batch is halved, once and for all.
    """

    def __init__(self, parameters: TVL1Parameters, *, batch_size: int, device: str = "cuda") -> None:
        self._parameters, self._batch_size = parameters, batch_size
        self._device = torch.device(device)

    def pairs(self, prev: np.ndarray, next: np.ndarray) -> np.ndarray:
        """Return float32 (N, H, W, 2) for uint8 (N, H, W) twice."""
        return self._in_batches(prev, next, None)

    def quantized_pairs(self, prev: np.ndarray, next: np.ndarray, bound: float) -> np.ndarray:
        """Return uint8 (N, H, W, 2), discretised on the GPU as `quantize` does it."""
        return self._in_batches(prev, next, bound)

    def stream(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the flow (H, W, 2) between neighbouring frames, taking one batch of them ahead."""
        frames = iter(frames)
        chunk = list(islice(frames, 1))
        while chunk and (more := list(islice(frames, self._pairs_at_once(chunk[0])))):
            chunk = np.stack([*chunk, *more])
            yield from self._in_batches(chunk[:-1], chunk[1:], None)
            chunk = [chunk[-1]]

    def _in_batches(self, prev: np.ndarray, next: np.ndarray, bound: float | None) -> np.ndarray:
        """Compute as many pairs at a time as memory allows."""
        result = np.empty((*prev.shape, 2), np.float32 if bound is None else np.uint8)
        start = 0
        while start < len(prev):
            stop = min(start + self._pairs_at_once(prev[0]), len(prev))
            try:
                self._batch(prev[start:stop], next[start:stop], bound, out=result[start:stop])
            except torch.OutOfMemoryError:
                if stop - start == 1:
                    raise
                self._shrink((stop - start) // 2)
                continue
            start = stop
        return result

    def _pairs_at_once(self, image: np.ndarray) -> int:
        return pairs_at_once(*image.shape, most=self._batch_size)

    def _shrink(self, batch_size: int) -> None:
        torch.cuda.empty_cache()
        _log.warning("GPU memory is short: optical flow goes on with %d pairs at a time", batch_size)
        self._batch_size = batch_size

    def _batch(self, prev: np.ndarray, next: np.ndarray, bound: float | None, *, out: np.ndarray) -> None:
        """Copy one batch over, solve it, discretise it if asked to, and copy it back into `out`."""
        num_pairs = len(prev)
        if _are_neighbours(prev, next):
            images = np.concatenate([prev, next[-1:]])  # each frame goes over once
            firsts = np.arange(num_pairs)
            seconds = firsts + 1
        else:
            images = np.concatenate([prev, next])
            firsts = np.arange(num_pairs)
            seconds = firsts + num_pairs
        flow = self.solve(self.upload(images), self.upload(firsts), self.upload(seconds))
        flow = flow.permute(0, 2, 3, 1)  # (N, 2, H, W) -> (N, H, W, 2)
        if bound is not None:
            scale = float(np.float32(255.0 / (2.0 * bound)))
            flow = ((flow.clamp(-bound, bound) + bound) * scale).round().to(torch.uint8)
        self._download(flow.contiguous(), out)

    def upload(self, array: np.ndarray) -> torch.Tensor:
        """Copy an array to the device, over pinned memory where that is a GPU."""
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        if self._device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self._device, non_blocking=True)

    def _download(self, tensor: torch.Tensor, out: np.ndarray) -> None:
        pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=self._device.type == "cuda")
        pinned.copy_(tensor)
        out[...] = pinned.numpy()

    def solve(self, images: torch.Tensor, firsts: torch.Tensor, seconds: torch.Tensor) -> torch.Tensor:
        """Return the flow (N, 2, H, W) of pairs of `images`, from coarse to fine; all tensors on the device.

        `images`: uint8 (F, H, W). Pair k is `images[firsts[k]]`, `images[seconds[k]]`: int64 (N,) both.
        """
        parameters = self._parameters
        levels = [images.float()]
        for shape in parameters.level_shapes(*images.shape[1:])[1:]:
            levels.append(self._resize(levels[-1], shape, 1.0 / parameters.scale_step, 1.0))
        num_pairs, size = len(firsts), levels[0][0].numel()
        work = torch.empty(num_pairs * PLANES * size, device=self._device)
        flow = torch.zeros((num_pairs, 2, *levels[-1].shape[1:]), device=self._device)
        for level in reversed(levels):
            shape = tuple(level.shape[1:])
            if flow.shape[2:] != level.shape[1:]:
                larger = self._resize(flow.flatten(0, 1), shape, None, 1.0 / parameters.scale_step)
                flow = larger.unflatten(0, (num_pairs, 2))
            self._solve_level(level, firsts, seconds, flow, work)
        return flow

    def _resize(self, images: torch.Tensor, shape: tuple[int, int], step: float | None, scale: float) -> torch.Tensor:
        """Resample images (F, H, W) to `shape` and multiply them by `scale`."""
        height, width = images.shape[1:]
        centered = self._parameters.centered_resize
        sides = ((height, shape[0]), (width, shape[1]))
        taps = [tap for side in sides for tap in linear_taps(*side, step=step, centered=centered)]
        result = torch.empty((len(images), *shape), device=self._device)
        grid = (triton.cdiv(shape[0] * shape[1], 1024), len(images))
        resize_kernel[grid](
            images, result, *(self.upload(tap) for tap in taps), scale, height, width, *shape,
            BLOCK=1024, enable_fp_fusion=False,
        )  # fmt: skip
        return result

    def _solve_level(
        self,
        level: torch.Tensor,
        firsts: torch.Tensor,
        seconds: torch.Tensor,
        flow: torch.Tensor,
        work: torch.Tensor,
    ) -> torch.Tensor:
        """Refine `flow` in place; returns the number of steps each pair took, int32 (N,)."""
        parameters, (height, width) = self._parameters, level.shape[1:]
        size = height * width
        work[: len(firsts) * PLANES * size].view(len(firsts), PLANES, size)[:, :4] = 0.0  # p starts at rest
        steps = torch.zeros(len(firsts), dtype=torch.int32, device=self._device)
        block = min(_BLOCK, triton.next_power_of_2(size))
        solve_kernel[(len(firsts),)](
            level, firsts, seconds, flow, work, steps, height, width,
            parameters.theta, parameters.threshold, parameters.dual_step, parameters.cubic_coefficient,
            parameters.epsilon**2 * size,
            parameters.num_warps, parameters.inner_iterations, parameters.outer_iterations,
            MEDIAN=parameters.median_size > 1, EDGE=parameters.edge_pixels, SPARSE=parameters.sparse_check,
            PLANES=PLANES, BLOCK=block, num_warps=_NUM_WARPS, num_stages=1, enable_fp_fusion=False,
        )  # fmt: skip
        return steps


def _are_neighbours(prev: np.ndarray, next: np.ndarray) -> bool:
    """Say whether `next[k]` is `prev[k + 1]` in memory, as in frames[:-1] and frames[1:]."""
    start, after = (array.__array_interface__["data"][0] for array in (prev, next))
    return prev.strides == next.strides and start + prev.strides[0] == after


def cuda_is_available() -> bool:
    """Say whether torch sees a CUDA device."""
    return torch.cuda.is_available()
