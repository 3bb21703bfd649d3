"""What a network of one's own needs: a class in a file, a line in `MODELS`; and that nothing else knows networks."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch

from tdn_data.benchmarks import networks as benchmark
from tdn_data.models import MODELS, build_model, load_weights
from tdn_data.models.backbones import build_backbone
from tdn_data.models.evaluation.evaluate import EvaluateConfig, evaluate
from tdn_data.models.networks.base import ClipShape, VideoNetwork, stack_snippets
from tdn_data.models.training.config import TrainConfig
from tdn_data.models.training.train import train

PROJECT = Path(__file__).resolve().parents[3]
ROOMS = ("models/weights", "models/clips", "models/training", "models/evaluation", "benchmarks")
NARROW = {"backbone": "resnet18", "width": 8, "num_segments": 2}


class MeanFrame(VideoNetwork):
    """The backbone's scores of the mean of all frames."""

    def __init__(
        self, *, num_classes, backbone="resnet18", num_segments=2, modality="rgb", snippet_length=1, **options
    ):
        super().__init__(num_segments=num_segments, modality=modality, snippet_length=snippet_length)
        self.backbone = build_backbone(backbone, num_classes=num_classes, in_channels=self.in_channels, **options)

    def forward_streams(self, clip):
        return {"image": self.backbone(stack_snippets(clip, self.in_channels).mean(1))}


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(MODELS, "mean_frame", MeanFrame)


def test_a_registered_class_is_trained_and_tested_by_its_name(registered, coloured, tmp_path):
    images = build_backbone("resnet18", width=8)
    torch.save(images.state_dict(), tmp_path / "images.pth")
    config = TrainConfig(
        backbone="resnet18",
        backbone_options={"width": 8},
        **{"num_segments": 2, "size": 32, "mirror": False, "epochs": 2, "batch_size": 4},
        init=(str(tmp_path / "images.pth"),),
    )
    path = train(coloured, "mean_frame", config=config, out=tmp_path / "own.pt")
    tested = EvaluateConfig(num_clips=1, num_crops=1)
    assert evaluate(coloured, path, config=tested, network="mean_frame").scores.shape == (4, 2)
    again = build_model("mean_frame", num_classes=2, **NARROW)
    load_weights(again, path)
    with torch.no_grad():
        assert again.eval()(torch.zeros(1, 2, 1, 3, 32, 32)).isfinite().all()


def test_a_registered_class_is_timed_by_its_name(registered):
    result = benchmark.run(["mean_frame"], device="cpu", num_videos=2, size=32, num_rounds=1, num_segments=2)
    assert [network.name for network in result.networks] == ["tsn", "mean_frame"]


@pytest.mark.parametrize("name", MODELS)
def test_every_network_says_what_clips_it_was_built_for(name):
    with torch.device("meta"):
        model = build_model(name, num_classes=2, num_segments=4)
    assert isinstance(model, VideoNetwork) and model.modality == "rgb"
    assert ClipShape.of(model, 64) == ClipShape(4, model.snippet_length, 64)
    assert model.in_channels == 3 * model.snippet_length


def test_only_the_difference_networks_image_part_is_fixed_in_phase_one():
    with torch.device("meta"):
        models = {name: build_model(name, num_classes=2) for name in MODELS}
    assert [name for name, model in models.items() if model.image_subnetwork is not None] == ["tdn"]
    assert models["tdn"].image_subnetwork is models["tdn"].image


def nodes(room):
    for path in sorted((PROJECT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            yield path.relative_to(PROJECT).as_posix(), node


@pytest.mark.parametrize("room", ROOMS)
def test_no_network_is_known_by_its_file_outside_of_networks(room):
    of_all = {"tdn_data.models.networks"} | {f"tdn_data.models.networks.{name}" for name in ("base", "cost", "folding")}
    imports = [(path, node.module) for path, node in nodes(room) if isinstance(node, ast.ImportFrom)]
    assert not [(path, name) for path, name in imports if "models.networks" in (name or "") and name not in of_all]


@pytest.mark.parametrize("room", ROOMS)
def test_no_network_is_told_apart_by_its_name_or_its_attributes_outside_of_networks(room):
    for path, node in nodes(room):
        if isinstance(node, ast.Compare):
            constants = [part.value for part in (node.left, *node.comparators) if isinstance(part, ast.Constant)]
            assert MODELS.keys().isdisjoint(constants), f"{path}: {ast.unparse(node)}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr"):
            assert ast.unparse(node.args[0]) not in ("model", "network", "module"), f"{path}: {ast.unparse(node)}"
