"""The cost volume against plain loops, displacement of known shifts, bounded memory at 224 x 224, and warping."""

from __future__ import annotations

import pathlib

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from tdn_data.models.networks import cost_volume as module
from tdn_data.models.networks.cost_volume import cost_volume, displacement, warp


def maps(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def plain_costs(before, after, radius):
    """Cosines by four loops; -inf outside of the image."""
    batch, _, height, width = before.shape
    side = 2 * radius + 1
    costs = torch.full((batch, height, width, side, side), -torch.inf)
    for i in range(height):
        for j in range(width):
            for di in range(max(-radius, -i), min(radius, height - 1 - i) + 1):
                for dj in range(max(-radius, -j), min(radius, width - 1 - j) + 1):
                    cosine = F.cosine_similarity(before[:, :, i, j], after[:, :, i + di, j + dj])
                    costs[:, i, j, di + radius, dj + radius] = cosine
    return costs


def plain_displacement(before, after, radius, temperature):
    """Equations 1 and 2 as they stand, with both marginals."""
    weights = (plain_costs(before, after, radius) / temperature).exp()
    total = weights.sum((3, 4), keepdim=True)
    rows, columns = (weights / total).sum(4), (weights / total).sum(3)
    steps = torch.arange(-radius, radius + 1.0)
    return torch.stack([rows @ steps, columns @ steps], 1)


@pytest.mark.parametrize(("height", "width", "radius"), [(8, 8, 1), (5, 11, 2), (11, 5, 4)])
def test_costs_are_cosines_within_the_window(height, width, radius):
    before, after = maps(2, 3, height, width), maps(2, 3, height, width, seed=1)
    torch.testing.assert_close(cost_volume(before, after, radius=radius), plain_costs(before, after, radius))


def test_displacement_is_that_of_equations_1_and_2():
    before, after = maps(2, 3, 7, 10), maps(2, 3, 7, 10, seed=1)
    expected = plain_displacement(before, after, 2, 0.5)
    torch.testing.assert_close(displacement(before, after, radius=2, temperature=0.5), expected)


@pytest.mark.parametrize("places", (64, 200, 8192))
def test_strips_of_any_size_give_the_same_values_and_gradients(places, monkeypatch):
    monkeypatch.setattr(module, "PLACES_AT_ONCE", places)
    before, after = maps(3, 3, 19, 10).requires_grad_(), maps(3, 3, 19, 10, seed=1).requires_grad_()
    slope = maps(3, 2, 19, 10, seed=2)
    result = displacement(before, after, radius=2, temperature=0.5)
    gradients = torch.autograd.grad((result * slope).sum(), (before, after))
    expected = plain_displacement(before, after, 2, 0.5)
    torch.testing.assert_close(result, expected)
    torch.testing.assert_close(gradients, torch.autograd.grad((expected * slope).sum(), (before, after)))


@pytest.mark.parametrize("shift", [(0, 0), (2, -3), (-1, 4), (4, 4)])
def test_shifting_by_whole_places_is_found_exactly_as_the_temperature_goes_to_0(shift):
    before = maps(1, 16, 24, 24)
    after = before.roll(shift, (2, 3))
    inside = (slice(None), slice(None), slice(4, -4), slice(4, -4))  # places that did not leave the image
    truth = torch.tensor(shift).float()[None, :, None, None].expand(1, 2, 16, 16)
    errors = []
    for temperature in (1.0, 0.1, 0.01, 0.001):
        found = displacement(before, after, radius=4, temperature=temperature)[inside]
        errors.append((found - truth).abs().max().item())
    assert errors[-1] < 1e-6 and (errors[0] > 0.1 or shift == (0, 0))
    assert errors[1:] == sorted(errors[1:], reverse=True)
    assert torch.equal(displacement(before, after, radius=4, assignment="hard")[inside], truth)


def test_a_shorter_or_longer_feature_vector_does_not_matter():
    before, after = maps(1, 4, 9, 9), maps(1, 4, 9, 9, seed=1)
    expected = displacement(before, after, radius=2)
    torch.testing.assert_close(displacement(before * 100, after * maps(1, 1, 9, 9, seed=2).abs(), radius=2), expected)


def test_blank_maps_give_finite_values_and_gradients():
    before = torch.zeros(1, 4, 9, 9, requires_grad=True)
    result = displacement(before, torch.zeros(1, 4, 9, 9), radius=2)
    result.sum().backward()
    assert result.isfinite().all() and before.grad.isfinite().all()
    assert result[0, :, 4, 4].abs().max() < 1e-6  # all candidates alike: their mean


class LargestTensor(TorchDispatchMode):
    """Remembers the largest number of elements that any operation, forward or backward, gave."""

    largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.largest = max(self.largest, tensor.numel())
        return result


def test_the_volume_of_the_batch_is_never_made_at_224():
    """Neither any tensor nor the process's peak comes near it, forward and backward."""
    before, after = maps(3, 16, 224, 224).requires_grad_(), maps(3, 16, 224, 224, seed=1)
    volume = 3 * 224 * 224 * 17 * 17  # numbers; several times as many with their softmax and gradients
    before_bytes = reset_peak()
    with LargestTensor() as seen:
        displacement(before, after, radius=8).square().sum().backward()
    assert before.grad.isfinite().all()
    assert seen.largest < volume / 8
    assert before_bytes is None or read_status("VmHWM") - before_bytes < 2 * 4 * volume


def reset_peak():
    """Reset the process's memory peak and return what it holds now, in bytes; None where Linux does not let us."""
    try:
        pathlib.Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return read_status("VmRSS")


def read_status(key):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def test_warping_by_whole_places_shifts_and_fills_with_zeros():
    features = maps(1, 3, 5, 6)
    motion = torch.zeros(1, 2, 5, 6)
    motion[:, 0], motion[:, 1] = 2, -1  # two rows down, one column to the left
    expected = torch.zeros(1, 3, 5, 6)
    expected[:, :, 2:, :5] = features[:, :, :3, 1:]
    torch.testing.assert_close(warp(features, motion), expected)
    assert warp(features, motion + 100).abs().max() == 0


def test_warping_by_half_a_place_is_the_mean_of_two():
    features, motion = maps(1, 3, 5, 6), torch.zeros(1, 2, 5, 6)
    motion[:, 1] = -0.5
    expected = (features + F.pad(features, (0, 1))[..., 1:]) / 2  # zeros go on to the right
    torch.testing.assert_close(warp(features, motion), expected)


def test_without_motion_warping_does_nothing():
    features = maps(2, 3, 7, 4)
    torch.testing.assert_close(warp(features, torch.zeros(2, 2, 7, 4)), features)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radius": 0}, "radius is 0; it must be at least 1"),
        ({"radius": 2, "temperature": 0}, "temperature is 0; it must be greater than 0"),
        ({"radius": 2, "assignment": "best"}, "assignment is 'best'; known assignments: soft, hard"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        displacement(maps(1, 2, 4, 4), maps(1, 2, 4, 4), **options)


def test_maps_of_different_shapes_are_named():
    with pytest.raises(ValueError, match=r"shapes \(1, 2, 4, 4\) and \(1, 2, 4, 5\)"):
        displacement(maps(1, 2, 4, 4), maps(1, 2, 4, 5), radius=1)
