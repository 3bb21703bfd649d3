"""TV-L1 written for reading: the oracle that the fast kernels are tested against, in plain NumPy.

C. Zach, T. Pock, H. Bischof, "A Duality Based Approach for Realtime TV-L1 Optical Flow", DAGM 2007, in the scheme of
OpenCV's DualTVL1OpticalFlow (after J. Sanchez, E. Meinhardt-Llopis, G. Facciolo, IPOL 2013):

    for each pyramid level, coarse to fine, and `num_warps` times:
        sample the second image and its gradient at x + u0                          (linearisation, eq. 9)
        repeat until a step's mean square is at most epsilon^2:
            every `inner_iterations` steps, before the step: 5 x 5 median of u
            v = u + clip(-rho / |grad|^2, -lambda theta, lambda theta) grad         (thresholding, eq. 15)
            u = v + theta div p                                                     (eq. 13)
            p = (p + tau/theta grad u) / (1 + tau/theta |grad u|)                   (eq. 14)
    the dual p is zero at the start of a level and kept over its warps.

With cv2.remap and cv2.resize in place of `warp` and `resize` it gives OpenCV's bits; those two differ in the last one.
A step's error is summed in double precision here, in single there, which rarely shows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tdn_data.pipeline.flow.tvl1_parameters import TVL1Parameters

FLAT = np.float32(np.finfo(np.float32).eps)  # |grad|^2 of a pixel without structure


def tvl1_reference(
    prev: np.ndarray, next: np.ndarray, parameters: TVL1Parameters, *, dtype: type = np.float32
) -> np.ndarray:
    """Return the flow (H, W, 2) between two uint8 images (H, W), computed in `dtype`."""
    first, second = pyramid(prev, parameters, dtype), pyramid(next, parameters, dtype)
    u, v = np.zeros_like(first[-1]), np.zeros_like(first[-1])
    for level in reversed(range(len(first))):
        if level < len(first) - 1:
            u, v = (
                resize(plane, first[level].shape, None, parameters) * dtype(1 / parameters.scale_step)
                for plane in (u, v)
            )
        u, v = solve_level(first[level], second[level], u, v, parameters)
    return np.stack([u, v], axis=-1)


def pyramid(image: np.ndarray, parameters: TVL1Parameters, dtype: type = np.float32) -> list[np.ndarray]:
    """Return the image at each level, finest first, each shrunk from the one before."""
    levels = [image.astype(dtype)]
    for shape in parameters.level_shapes(*image.shape)[1:]:
        levels.append(resize(levels[-1], shape, 1.0 / parameters.scale_step, parameters))
    return levels


def resize(image: np.ndarray, shape: tuple[int, int], step: float | None, parameters: TVL1Parameters) -> np.ndarray:
    """Resample bilinearly; `step` is the distance of two output pixels in input pixels, None for the sizes' ratio."""
    low, high, share = linear_taps(image.shape[1], shape[1], step, parameters.centered_resize)
    wide = image[:, low] + (image[:, high] - image[:, low]) * share
    low, high, share = linear_taps(image.shape[0], shape[0], step, parameters.centered_resize)
    return wide[low] + (wide[high] - wide[low]) * share[:, None]


def linear_taps(
    size: int, new_size: int, step: float | None, centered: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the two input pixels of each output pixel (int32) and the second one's share (float32).

    Outside the input its edge is repeated. Where a fixed step runs past the end the last pixel is reached as the second
    of two, with the share 1: that is how OpenCV rounds.
    """
    offset = 0.5 if centered else 0.0
    position = (np.arange(new_size) + offset) * (size / new_size if step is None else step) - offset
    position = np.clip(position, 0, size - 1)
    low = np.floor(position).astype(np.int32)
    if step is not None and size > 1:
        low = np.minimum(low, size - 2)
    return low, np.minimum(low + 1, size - 1), (position - low).astype(np.float32)


def solve_level(
    first: np.ndarray, second: np.ndarray, u: np.ndarray, v: np.ndarray, parameters: TVL1Parameters
) -> tuple[np.ndarray, np.ndarray]:
    """Refine the flow (u, v) between two images of one level."""
    duals = [np.zeros_like(first) for _ in range(4)]
    gradient = centered_gradient(second)
    for _ in range(parameters.num_warps):
        warped, grad_x, grad_y = (warp(plane, u, v, parameters) for plane in (second, *gradient))
        rho_const = warped - grad_x * u - grad_y * v - first
        u, v = _iterate(u, v, duals, grad_x, grad_y, rho_const, parameters)
    return u, v


def _iterate(u, v, duals, grad_x, grad_y, rho_const, parameters) -> tuple[np.ndarray, np.ndarray]:
    """Alternate between v, u and p of one linearisation until a step is small; `duals` is updated in place."""
    theta, limit = u.dtype.type(parameters.theta), u.dtype.type(parameters.threshold)
    squared = grad_x * grad_x + grad_y * grad_y
    done = stopping_test(parameters, u.size)
    for step in range(parameters.outer_iterations * parameters.inner_iterations):
        if step % parameters.inner_iterations == 0 and parameters.median_size > 1:
            u, v = median5(u), median5(v)
        rho = rho_const + (grad_x * u + grad_y * v)
        data_step = np.where(squared > FLAT, -rho / np.maximum(squared, FLAT), 0)
        data_step = np.select([rho < -limit * squared, rho > limit * squared], [limit, -limit], data_step)
        new_u = u + data_step * grad_x + theta * divergence(duals[0], duals[1])
        new_v = v + data_step * grad_y + theta * divergence(duals[2], duals[3])
        error = float(np.sum((new_u - u) ** 2 + (new_v - v) ** 2, dtype=np.float64))
        u, v = new_u, new_v
        duals[0:2] = dual_step(u, duals[0], duals[1], parameters)
        duals[2:4] = dual_step(v, duals[2], duals[3], parameters)
        if done(step, error):
            break
    return u, v


def stopping_test(parameters: TVL1Parameters, num_pixels: int) -> Callable[[int, float], bool]:
    """Return a test that gets each step's sum of squared changes and says whether to stop.

    OpenCV's CUDA class looks at odd steps only, and after each look waits for as many steps as the error is multiples
    of the limit: expected error of a step it has not summed falls by the limit a step.
    """
    limit = parameters.epsilon**2 * num_pixels
    if not parameters.sparse_check:
        return lambda step, error: error <= limit
    expected = 0.0

    def look(step: int, error: float) -> bool:
        nonlocal expected
        if parameters.epsilon > 0 and step % 2 == 1 and expected < limit:
            expected = error
            return error <= limit
        expected -= limit
        return False

    return look


def centered_gradient(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return half the difference of the neighbours in x and in y; at an edge the pixel itself stands in."""
    padded = np.pad(image, 1, mode="edge")
    half = image.dtype.type(0.5)
    return half * (padded[1:-1, 2:] - padded[1:-1, :-2]), half * (padded[2:, 1:-1] - padded[:-2, 1:-1])


def warp(image: np.ndarray, u: np.ndarray, v: np.ndarray, parameters: TVL1Parameters) -> np.ndarray:
    """Sample `image` at (x + u, y + v) with the bicubic kernel."""
    height, width = image.shape
    y, x = np.mgrid[:height, :width].astype(image.dtype)
    left, x_weights = _cubic_taps(x + u, parameters)
    top, y_weights = _cubic_taps(y + v, parameters)
    result = np.zeros_like(image)
    for j in range(4):
        for i in range(4):
            row, column = top + j, left + i
            values = image[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
            if not parameters.edge_pixels:
                values = np.where((row >= 0) & (row < height) & (column >= 0) & (column < width), values, 0)
            result += y_weights[j] * x_weights[i] * values
    return result


def _cubic_taps(position: np.ndarray, parameters: TVL1Parameters) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the first of the four pixels around each position and the four weights, in forms that lose no digits."""
    a = parameters.cubic_coefficient
    whole = np.floor(position)
    share = position - whole
    rest = 1 - share
    first, last = a * share * (rest * rest), a * rest * (share * share)
    second = ((a + 2) * share - (a + 3)) * (share * share) + 1
    return whole.astype(np.intp) - 1, [first, second, 1 - first - second - last, last]


def divergence(x_component: np.ndarray, y_component: np.ndarray) -> np.ndarray:
    """Return the backward differences' sum; what lies outside is zero (the adjoint of `forward_gradient`).

    The first column is added up in another order than the rest, as in OpenCV: a last bit decides where a level stops.
    """
    outside = x_component.dtype.type(0)
    down = np.diff(y_component, axis=0, prepend=outside)
    result = np.diff(x_component, axis=1, prepend=outside) + down
    result[1:, 0] = (x_component[1:, 0] + y_component[1:, 0]) - y_component[:-1, 0]
    return result


def dual_step(plane: np.ndarray, p_x: np.ndarray, p_y: np.ndarray, parameters: TVL1Parameters) -> list[np.ndarray]:
    """Return p after one step along the plane's forward gradient, which is zero across the last row and column."""
    grad_x = np.diff(plane, axis=1, append=plane[:, -1:])
    grad_y = np.diff(plane, axis=0, append=plane[-1:])
    step = plane.dtype.type(parameters.dual_step)
    norm = 1 + step * np.hypot(grad_x, grad_y)
    return [(p_x + step * grad_x) / norm, (p_y + step * grad_y) / norm]


def median5(plane: np.ndarray) -> np.ndarray:
    """Return the median over each pixel's 5 x 5 neighbourhood; edges are repeated."""
    padded = np.pad(plane, 2, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, (5, 5)), axis=(2, 3)).astype(plane.dtype)
