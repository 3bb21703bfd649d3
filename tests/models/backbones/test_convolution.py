"""Strided 1x1 convolutions of few channels stay off oneDNN's faulty path, on whatever processor."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from tdn_data.models import MODELS, build_model
from tdn_data.models.backbones import BACKBONES, build_backbone
from tdn_data.models.backbones.convolution import Convolution2d

PROJECT = Path(__file__).resolve().parents[3]
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
CHECKED = {"MALLOC_CHECK_": "3", "MALLOC_PERTURB_": "165", "PYTHONFAULTHANDLER": "1", "OMP_WAIT_POLICY": "passive"}

# a narrow network takes a few steps: shortcuts of 2, 4, 8 channels (and 12, 24, ...) on maps from 56x56 to 4x4
TRAIN = """
import sys, torch
from torch import nn
from tdn_data.models.backbones import build_backbone
torch.set_num_threads(int(sys.argv[1]))
for name, width, size in (("resnet18", 2, 224), ("resnet18", 4, 64), ("resnet50", 3, 64), ("resnet18", 12, 224)):
    network = build_backbone(name, num_classes=3, width=width).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    for _ in range(3):
        images = torch.randn(8, 3, size, size).contiguous(memory_format=torch.channels_last)
        loss = nn.functional.cross_entropy(network(images), torch.arange(8) % 3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.isfinite(loss)
"""

# one gradient of torch's own layer against that of contiguous memory, which is right
BARE = """
import torch
from torch.nn import functional as F
torch.manual_seed(0)
torch.set_num_threads(1)
for _ in range(200):
    weight = torch.randn(8, 4, 1, 1).to(memory_format=torch.channels_last).requires_grad_()
    F.conv2d(torch.randn(8, 4, 28, 28).to(memory_format=torch.channels_last), weight, stride=2).sum().backward()
"""


def run(code: str, *arguments: str, variables: dict[str, str]) -> subprocess.CompletedProcess:
    """Run Python code in a process of its own, with every damage of the heap reported at once."""
    environment = os.environ | CHECKED | variables
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("variables", [AVX2, {}], ids=["avx2", "own"])
@pytest.mark.parametrize("threads", ["1", "2"])
def test_narrow_networks_train_in_channels_last_memory(variables, threads):
    done = run(TRAIN, threads, variables=variables)
    assert done.returncode == 0, done.stderr[-2000:]


def test_torchs_own_layer_is_still_at_fault(record_property):
    """It dies or hangs; a skip says that it does neither and the layer is not needed on this version of torch."""
    try:
        done = run(BARE, variables=AVX2)
        assert done.returncode <= 0, done.stderr  # a signal, or nothing: an error of Python's would be the test's own
        failed = done.returncode < 0
    except subprocess.TimeoutExpired:
        failed = True
    record_property("still_at_fault", failed)
    if not failed:
        pytest.skip(f"torch {torch.__version__} takes the path without damage on this machine: the guard is spare")


@pytest.mark.parametrize("stride", [2, 3, (1, 2), (2, 1)])
@pytest.mark.parametrize("channels", [1, 4, 15])
@pytest.mark.parametrize("size", [(14, 14), (13, 9)])
def test_stepping_over_pixels_is_the_strided_convolution(stride, channels, size):
    torch.manual_seed(0)
    ours = Convolution2d(channels, 5, 1, stride=stride, bias=True)
    bare = nn.Conv2d(channels, 5, 1, stride=stride, bias=True)  # contiguous memory: oneDNN is right there
    bare.load_state_dict(ours.state_dict())
    images = torch.randn(3, channels, *size)
    results = []
    for layer in (ours, bare):
        x = images.clone().requires_grad_()
        out = layer(x)
        results.append((out, *torch.autograd.grad(out.square().sum(), (x, layer.weight, layer.bias))))
    assert ours.steps_over_pixels
    for mine, due in zip(*results, strict=True):
        torch.testing.assert_close(mine, due, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"kernel_size": 1, "stride": 2}, True),
        ({"kernel_size": 1, "stride": (1, 2)}, True),
        ({"kernel_size": 1, "stride": 2, "in_channels": 15}, True),
        ({"kernel_size": 1, "stride": 2, "in_channels": 16}, False),
        ({"kernel_size": 1}, False),
        ({"kernel_size": 3, "stride": 2}, False),
        ({"kernel_size": 1, "stride": 2, "padding": 1}, False),
        ({"kernel_size": 1, "stride": 2, "groups": 4}, False),
    ],
)
def test_only_the_layers_that_need_it_are_computed_otherwise(options, steps):
    assert Convolution2d(**{"in_channels": 4, "out_channels": 8} | options).steps_over_pixels is steps


def test_layers_that_do_not_need_it_give_torchs_own_bits():
    layer = Convolution2d(16, 8, 1, stride=2).to(memory_format=torch.channels_last)
    images = torch.randn(2, 16, 14, 14).contiguous(memory_format=torch.channels_last)
    assert torch.equal(layer(images), nn.functional.conv2d(images, layer.weight, layer.bias, stride=2))


def test_no_layer_over_images_is_torchs_own():
    """Every file of ours builds its image convolutions with the class that is safe."""
    bare = [
        f"{path.relative_to(PROJECT)}:{node.lineno}"
        for path in sorted((PROJECT / "models").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("nn.Conv2d", "torch.nn.Conv2d", "Conv2d")
    ]
    assert bare == []


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_is_built_of_them(name):
    assert bare_layers(build_backbone(name, num_classes=2)) == []


@pytest.mark.parametrize("name", [name for name in MODELS if name != "disentangled"])
def test_every_narrow_network_is_built_of_them(name):
    assert bare_layers(build_model(name, num_classes=2, backbone="resnet18", width=4)) == []


def bare_layers(network: nn.Module) -> list[str]:
    """Return the names of a network's image convolutions that are not Convolution2d."""
    layers = [(name, part) for name, part in network.named_modules() if isinstance(part, nn.Conv2d)]
    return [name for name, part in layers if not isinstance(part, Convolution2d)]
