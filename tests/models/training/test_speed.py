"""What makes a training faster changes its weights by rounding alone."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from tdn_data.models.networks.tsn import TSN
from tdn_data.models.training.speed import check_speed, laid_out
from tdn_data.models.training.train import train
from tdn_data.pipeline.errors import InputError
from tests.models.training.small import SMALL, weights

CONFIG = replace(SMALL, epochs=1, learning_rate=0.005, num_threads=1)


@pytest.mark.parametrize("changes", [{"compile": True}, {"channels_last": True}, {"fused": True}])
def test_options_for_speed_change_rounding_alone(coloured, tmp_path: Path, monkeypatch, changes) -> None:
    monkeypatch.setattr(
        torch, "compile", partial(torch.compile, backend="eager")
    )  # the graph alone; code takes minutes
    plain = weights(train(coloured, "tsn", config=CONFIG, out=tmp_path / "1.pt"))
    faster = weights(train(coloured, "tsn", config=replace(CONFIG, **changes), out=tmp_path / "2.pt"))
    assert plain.keys() == faster.keys()
    for name, value in plain.items():
        torch.testing.assert_close(faster[name], value, atol=1e-4, rtol=1e-3, msg=name)


def test_stacked_channels_are_last_in_memory_without_another_copy() -> None:
    clips = torch.randn(2, 3, 5, 2, 8, 8)
    laid = laid_out(clips)
    images = laid.flatten(2, 3).flatten(0, 1)
    assert torch.equal(laid, clips) and images.data_ptr() == laid.data_ptr()
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_a_layer_that_a_cpu_computes_wrong_and_a_missing_compiler_are_refused(monkeypatch) -> None:
    network = TSN(num_classes=2, backbone="resnet18", width=8)
    check_speed(network, CONFIG, torch.device("cpu"))
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(InputError, match=r"compile is true, which takes a C\+\+ compiler .* set it to false"):
        check_speed(network, replace(CONFIG, compile=True), torch.device("cpu"))
    network.extra = nn.Conv2d(8, 8, 1, stride=2)
    with pytest.raises(InputError, match="layer extra is a convolution with which torch writes past its memory"):
        check_speed(network, CONFIG, torch.device("cpu"))
