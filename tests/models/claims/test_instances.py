"""Rendered instances: what is written, and that looks find an instance again."""

import numpy as np
import pytest
import torch

from tdn_data.models.backbones import build_backbone
from tdn_data.models.claims.instances import NUM_INSTANCES, SHOWN, query_average_precisions, render_instances
from tdn_data.models.retrieval.vlad_options import VladOptions

VLAD = {"scales": (1,), "input_size": 32, "num_words": 8, "num_dimensions": 32}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return render_instances(tmp_path_factory.mktemp("instances") / "test", seed=0, noise=4, split="test")


def test_every_instance_has_its_frames_and_is_drawn_once(images):
    names = sorted(path.name for path in images.iterdir())
    assert len(names) == NUM_INSTANCES * len(SHOWN) and names[0] == "000000.png" and names[-1] == "005903.png"
    (images / "005903.png").touch()
    before = (images / "005903.png").stat().st_mtime_ns
    assert render_instances(images, seed=0, noise=4, split="test") == images
    assert (images / "005903.png").stat().st_mtime_ns == before


def test_first_layer_of_an_untrained_network_finds_instances_far_better_than_chance(images):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_backbone("resnet18", num_classes=2, width=4)
    found = query_average_precisions(network, images, VladOptions(layer="conv1", **VLAD))
    assert found.shape == (NUM_INSTANCES,) and ((found >= 0) & (found <= 1)).all()
    assert np.mean(found) > 0.3  # a ranking at random has about 0.02
    with pytest.raises(ValueError, match="layer is 'none'; layers of ResNet: conv1"):
        query_average_precisions(network, images, VladOptions(layer="none", **VLAD))
