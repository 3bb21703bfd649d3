"""What every registered network must do, on a small form of it."""

from __future__ import annotations

import io
import os
import shutil
from dataclasses import dataclass, field

import pytest
import torch
import torch.nn.functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from tdn_data.models import MODELS, build_model
from tdn_data.models.networks.folding import fold_norms
from tdn_data.models.weights.checkpoint import Checkpoint, load_weights, save_checkpoint

NUM_CLASSES = 3
NARROW = {"backbone": "resnet18", "width": 8}


@dataclass(frozen=True)
class Small:
    """A small form of a network: its options and the clip (S, K, H = W) that it takes."""

    options: dict[str, object]
    num_snippets: int
    num_frames: int = 1
    size: int = 32
    unused: tuple[str, ...] = field(default=())  # prefixes of parameters that class scores do not depend on


POOLING = Small({**NARROW, "num_segments": 12, "hidden": 32, "dropout": 0.0}, num_snippets=12)
SMALL = {
    "tsn": Small({**NARROW, "num_segments": 3}, num_snippets=3),
    "tdn": Small({**NARROW, "num_segments": 3, "combination": "gated"}, num_snippets=3, size=64),
    "tdn_wang": Small({**NARROW, "width": 16, "num_segments": 4}, num_snippets=4, num_frames=5, size=64),
    "conv_pooling": POOLING,
    "late_pooling": POOLING,
    "slow_pooling": POOLING,
    "local_pooling": POOLING,
    "time_conv": POOLING,
    "lstm": Small({**NARROW, "num_segments": 6, "num_layers": 2, "num_cells": 32}, num_snippets=6),
    "actionflownet": Small(
        {**NARROW, "snippet_length": 8, "dropout": 0.0}, 1, num_frames=8, size=64, unused=("flownet.decoder",)
    ),
    "actionflownet_2f": Small({**NARROW, "dropout": 0.0}, 2, num_frames=2, size=64, unused=("flownet.decoder",)),
    "stacked": Small({**NARROW, "dropout": 0.0}, 2, num_frames=2, size=64, unused=("flownet",)),
    "disentangled": Small({"snippet_length": 3, "radius": 2, "dropout": 0.0}, 1, num_frames=3, size=64),
}
every_model = pytest.mark.parametrize("name", MODELS)


def build(name, **options):
    torch.manual_seed(0)
    return build_model(name, num_classes=NUM_CLASSES, **{**SMALL[name].options, **options})


def clip(name, *, num_videos=2, channels=3):
    small = SMALL[name]
    shape = (num_videos, small.num_snippets, small.num_frames, channels, small.size, small.size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def calibrated(name):
    """A network whose batch statistics are those of a clip, so that it does not blow up in evaluation."""
    network = build(name).train()
    for module in network.modules():
        if hasattr(module, "momentum"):
            module.momentum = None  # running statistics become the plain mean of what was seen
    with torch.no_grad():
        network(clip(name, num_videos=8))
    return network.eval()


def test_every_registered_network_has_a_small_form_here():
    assert MODELS.keys() <= SMALL.keys()


@every_model
def test_scores_are_one_per_class_and_named_by_stream(name):
    network = calibrated(name)
    with torch.no_grad():
        scores, streams = network(clip(name)), network.forward_streams(clip(name))
    assert scores.shape == (2, NUM_CLASSES) and scores.dtype == torch.float32 and scores.isfinite().all()
    assert streams and all(stream.shape == (2, NUM_CLASSES) for stream in streams.values())
    torch.testing.assert_close(scores, torch.stack(list(streams.values())).mean(0))


@every_model
def test_gradients_are_finite_wherever_scores_depend_on_a_weight_and_nowhere_else(name):
    network = build(name).train()
    F.cross_entropy(network(clip(name)), torch.tensor([0, 2])).backward()
    for parameter_name, parameter in network.named_parameters():
        if parameter_name.startswith(SMALL[name].unused or ("none",)):
            assert parameter.grad is None, parameter_name
        else:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), parameter_name


@every_model
def test_one_batch_is_learnt_by_heart(name):
    network, x, labels = build(name).train(), clip(name, num_videos=3), torch.tensor([2, 0, 1])
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=2e-3)
    start = F.cross_entropy(network(x), labels).item()
    for _ in range(40):
        loss = F.cross_entropy(network(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.item() < 0.1 * start:
            break
    assert loss.item() < 0.1 * start


@every_model
def test_a_checkpoint_of_other_classes_gives_all_but_the_scores_weights(name, tmp_path):
    trained = build_model(name, num_classes=NUM_CLASSES + 2, **SMALL[name].options)
    checkpoint = Checkpoint(name, SMALL[name].options, NUM_CLASSES + 2, 32, trained.state_dict())
    save_checkpoint(checkpoint, tmp_path / "trained.pt")
    network = build(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    load_weights(network, tmp_path / "trained.pt")
    kept = {key for key, value in trained.state_dict().items() if value.shape != before[key].shape}
    assert 0 < len(kept) <= 6  # weight and bias of one to three classifiers
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key] if key in kept else trained.state_dict()[key]), key


@every_model
def test_folded_normalisations_leave_the_scores(name):
    network, x = calibrated(name), clip(name)
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    for norm in norms:
        norm.weight.data.uniform_(0.5, 1.5)
        norm.bias.data.uniform_(-0.5, 0.5)
    with torch.no_grad():
        expected = network(x)
        folded = fold_norms(network)
        assert norms and not any(isinstance(module, _BatchNorm) for module in folded.modules())
        torch.testing.assert_close(folded(x), expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())


@every_model
def test_a_saved_network_gives_the_same_scores_when_loaded(name):
    network, file = calibrated(name), io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    torch.manual_seed(9)
    other = build_model(name, num_classes=NUM_CLASSES, **SMALL[name].options).eval()
    other.load_state_dict(torch.load(file, weights_only=True))
    with torch.no_grad():
        assert torch.equal(other(clip(name)), network(clip(name)))


@every_model
def test_a_video_scores_the_same_alone_and_in_a_batch(name):
    network, x = calibrated(name), clip(name, num_videos=3)
    with torch.no_grad():
        torch.testing.assert_close(torch.cat([network(video[None]) for video in x]), network(x), rtol=1e-3, atol=1e-4)


@every_model
def test_channels_last_gives_the_same_scores(name):
    network, x = calibrated(name), clip(name)
    with torch.no_grad():
        expected = network(x)
        network.to(memory_format=network.memory_format)
        torch.testing.assert_close(network(x), expected, rtol=1e-3, atol=1e-4)


@every_model
def test_bfloat16_autocast_gives_nearly_the_same_scores_and_finite_gradients(name):
    network, x = build(name).eval(), clip(name)
    with torch.no_grad():
        expected = network(x)
    with torch.autocast("cpu", torch.bfloat16):
        scores = network(x).float()
    F.cross_entropy(scores, torch.tensor([0, 2])).backward()
    assert (scores - expected).norm() < 0.05 * expected.norm()  # bfloat16 keeps 8 bits: 0.4 % a step
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


@every_model
def test_an_exported_network_gives_the_same_scores_in_torch_and_in_onnx_runtime(name):
    network, x = calibrated(name), clip(name, num_videos=1)
    with torch.no_grad():
        expected, exported = network(x), torch.export.export(network, (x,))
        torch.testing.assert_close(exported.module()(x), expected, rtol=1e-3, atol=1e-4)
        runtime, _ = pytest.importorskip("onnxruntime"), pytest.importorskip("onnxscript")
        onnx = torch.onnx.export(exported, dynamo=True, verbose=False).model_proto
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(onnx.SerializeToString(), options)
    (scores,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(scores), expected, rtol=1e-3, atol=1e-4)


@every_model
def test_a_network_compiles_to_one_graph_that_gives_the_same_scores(name):
    assert_compiles(name, backend="eager")  # the capture, where a network can fail; the code generator is tried below


@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="no C++ compiler: Inductor needs one")
def test_generated_code_gives_the_same_scores():
    assert_compiles("tsn", backend="inductor")


def assert_compiles(name, *, backend):
    network, x = calibrated(name), clip(name, num_videos=1)
    torch.compiler.reset()
    with torch.no_grad():
        compiled = torch.compile(network, fullgraph=True, backend=backend)
        torch.testing.assert_close(compiled(x), network(x), rtol=1e-3, atol=1e-4)


@every_model
def test_a_clip_with_other_channels_is_refused_in_a_sentence(name):
    with pytest.raises(ValueError, match=r"clip has shape \(2, .*; expected \(N, "):
        build(name)(clip(name, channels=5))


def test_an_unknown_network_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match="model is 'c3d'; known models: tsn, "):
        build_model("c3d", num_classes=2)


@every_model
def test_an_unknown_option_is_named(name):
    with pytest.raises(TypeError, match="colour"):
        build(name, colour="blue")


def test_a_network_without_classes_is_refused():
    with pytest.raises(ValueError, match="num_classes is 0; it must be at least 1"):
        build_model("tsn", num_classes=0)
