"""A network that learned flow is a flow method: from its checkpoint, from ONNX, on pairs and on stored flow."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from tdn_data.models import build_model
from tdn_data.models.evaluation.flow_error import flow_error, stored_pairs
from tdn_data.models.evaluation.flow_solver import FlowFromImages, NetworkSolver, solver_named, with_network
from tdn_data.models.networks.base import VideoNetwork
from tdn_data.models.weights.checkpoint import Checkpoint, save_checkpoint
from tdn_data.pipeline.errors import InputError, PipelineError
from tdn_data.pipeline.flow import methods
from tdn_data.pipeline.flow.quantize import quantize
from tdn_data.pipeline.parameters import METHODS, ExtractParameters, FlowParameters
from tdn_data.pipeline.video import sample_frames
from tdn_data.stages.cli import main
from tests.models.evaluation.test_predict import shards_of

OPTIONS = {"backbone": "resnet18", "width": 8, "num_segments": 1}


def network(name: str = "actionflownet_2f", **options: object) -> VideoNetwork:
    torch.manual_seed(0)
    return build_model(name, num_classes=2, **OPTIONS | options).eval()


def saved(path: Path, name: str = "actionflownet_2f", **options: object) -> str:
    save_checkpoint(Checkpoint(name, OPTIONS | options, 2, 64, network(name, **options).state_dict()), path)
    return str(path)


@pytest.fixture
def images() -> list[np.ndarray]:
    """Two RGB images of 50 x 70, no multiple of anything."""
    texture = cv2.resize(np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8), (80, 50))
    return [texture[:, :70], texture[:, 2:72]]


def test_a_checkpoint_and_its_network_in_onnx_give_the_same_flow(tmp_path: Path, images, monkeypatch) -> None:
    pytest.importorskip("onnxruntime"), pytest.importorskip("onnxscript")
    solver = solver_named(saved(tmp_path / "net.pt"))
    flow = solver.pairs(images[0][None], images[1][None])
    assert flow.shape == (1, 50, 70, 2) and flow.dtype == np.float32 and flow.std() > 0
    given = torch.zeros(1, 6, 64, 96)
    with torch.no_grad():
        torch.onnx.export(FlowFromImages(network()), (given,), tmp_path / "net.onnx", dynamo=True, verbose=False)
    other = solver_named(f"onnx:{tmp_path / 'net.onnx'}").pairs(images[0][None], images[1][None])
    np.testing.assert_allclose(other, flow, rtol=1e-3, atol=1e-4)
    monkeypatch.chdir(tmp_path)
    for name, image in zip("ab", images, strict=True):
        cv2.imwrite(f"{name}.png", image[..., ::-1])
    for method in ("net.pt", "onnx:net.onnx"):
        answer = CliRunner().invoke(main, ["flow", "a.png", "b.png", "--out", "f.flo", "--method", method])
        assert answer.exit_code == 0 and f"{method}: 70 x 50" in answer.output, answer.output


def test_a_network_is_a_flow_method_of_extraction(clip_folder: Path, tmp_path: Path) -> None:
    size = {"height": 48, "width": 64, "codec": "png"}
    method = saved(tmp_path / "net.pt")
    flow, handed_in = with_network(FlowParameters(method=method, **size))
    assert flow.network_sha256 == hashlib.sha256(Path(method).read_bytes()).hexdigest()
    reader = shards_of(clip_folder, tmp_path / "shards", flow=flow, network=handed_in)
    assert reader.info.parameters["method"] == method
    assert reader.info.parameters["network_sha256"] == flow.network_sha256
    frames = sample_frames(clip_folder / "videos/clip 03.mp4", size=(48, 64)).data
    own = solver_named(method).pairs(frames[:1], frames[1:2])[0]
    stored = reader.read("videos/clip 03", [0]).data[0].astype(int)
    assert np.abs(stored - quantize(own, flow.bound)).max() <= 1  # sums are rounded otherwise for two pairs at once

    tsn = saved(tmp_path / "tsn.pt", "tsn")
    for words, other in (("it is another network", tsn), ("the network does not exist", f"onnx:{tmp_path}/no.onnx")):
        with pytest.raises(InputError, match=words):
            with_network(flow.model_copy(update={"method": other}))
    with pytest.raises(InputError, match="holds tsn, which gives no flow of images"):
        with_network(FlowParameters(method=tsn))
    with pytest.raises(ValueError, match="the network of that file is not handed in"):
        ExtractParameters(flow=flow)
    with pytest.raises(ValueError, match="method is 'tvl2'; it must be one of tvl1, .*, or a network's file"):
        FlowParameters(method="tvl2")
    Path(method).write_bytes(Path(tsn).read_bytes())
    with pytest.raises(PipelineError, match="does not see the network that the extraction started with"):
        shards_of(clip_folder, tmp_path / "others", flow=flow, network=handed_in)


def test_networks_that_give_no_flow_between_two_images_say_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds tsn, which gives no flow of images; these do: actionflownet, "):
        solver_named(saved(tmp_path / "tsn.pt", "tsn"))
    with pytest.raises(InputError, match="reads 4 frames at once; the flow of two images needs a network of two fr"):
        solver_named(saved(tmp_path / "3d.pt", "actionflownet", snippet_length=4))
    (tmp_path / "no.onnx").write_bytes(b"no network")
    pytest.importorskip("onnxruntime")
    with pytest.raises(InputError, match="no.onnx is no network in ONNX"):
        solver_named(f"onnx:{tmp_path / 'no.onnx'}")


def test_the_error_is_measured_on_stored_flow_in_its_own_pixels(make_shards) -> None:
    frames = np.zeros((4, 32, 32, 3), np.uint8)
    right = np.broadcast_to(np.float32([3, 4]), (3, 16, 16, 2))  # stored at half the size: 6, 8 in pixels of the frames
    readers = [
        make_shards([("v", "test", (0,), data)], class_names=("x",), bound=20.0)
        for data in (frames, quantize(right, 20.0))
    ]
    exact = NetworkSolver(lambda pair: torch.tensor([6.0, 8.0])[:, None, None].expand(len(pair), 2, *pair.shape[2:]))
    pairs = stored_pairs(*readers, "test", limit=None, on_progress=lambda *_: None)
    found = flow_error(pairs, exact)
    assert found.num_pairs == 3 and found.epe < 0.1  # rounding of 256 levels
    assert found.still == pytest.approx(5, abs=0.1) and found.share_above_1px == 0


def test_parameters_name_the_methods_that_there_are() -> None:
    assert METHODS == methods.METHODS
