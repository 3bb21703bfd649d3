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
from tdn_data.models.evaluation.flow_error import flow_error, known_pairs, stored_pairs
from tdn_data.models.evaluation.flow_solver import NetworkSolver, solver_named, with_network
from tdn_data.models.evaluation.network_export import export_model
from tdn_data.models.networks.base import VideoNetwork
from tdn_data.models.weights.checkpoint import Checkpoint, save_checkpoint
from tdn_data.pipeline.datasets.registry import read_dataset
from tdn_data.pipeline.errors import InputError, PipelineError
from tdn_data.pipeline.flow import methods
from tdn_data.pipeline.flow.flo_files import write_flo
from tdn_data.pipeline.flow.quantize import quantize
from tdn_data.pipeline.parameters import METHODS, ExtractParameters, FlowParameters
from tdn_data.pipeline.video import sample_frames
from tdn_data.stages.cli import main
from tests.models.evaluation.small import COLOURED
from tests.models.evaluation.test_predict import shards_of

OPTIONS = {"backbone": "resnet18", "width": 8, "num_segments": 1}


def network(name: str = "actionflownet_2f", **options: object) -> VideoNetwork:
    torch.manual_seed(0)
    return build_model(name, num_classes=2, **OPTIONS | options).eval()


def saved(path: Path, name: str = "actionflownet_2f", trained_on: dict | None = None, **options: object) -> str:
    state = network(name, **options).state_dict()
    save_checkpoint(Checkpoint(name, OPTIONS | options, 2, 64, state, trained_on), path)
    return str(path)


@pytest.fixture
def images() -> list[np.ndarray]:
    """Two RGB images of 50 x 70, no multiple of anything."""
    texture = cv2.resize(np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8), (80, 50))
    return [texture[:, :70], texture[:, 2:72]]


def test_a_checkpoint_and_its_network_in_onnx_give_the_same_flow(tmp_path: Path, images, monkeypatch) -> None:
    runtime, _ = pytest.importorskip("onnxruntime"), pytest.importorskip("onnxscript")
    monkeypatch.chdir(tmp_path)
    solver = solver_named(saved(Path("net.pt"), trained_on=COLOURED.as_dict()))
    flow = solver.pairs(images[0][None], images[1][None])
    assert flow.shape == (1, 50, 70, 2) and flow.dtype == np.float32 and flow.std() > 0
    about = export_model("net.pt", onnx=Path("net.onnx"), program=Path("net.pt2"), flow=True)
    assert about["input"] == ["batch", 6, "height", "width"]
    session = runtime.InferenceSession("net.onnx")
    assert [one.shape for one in session.get_inputs()] == [["batch", 6, "32*rows", "32*columns"]]
    assert [one.shape for one in session.get_outputs()] == [["batch", 2, "8*rows", "8*columns"]]
    exported = solver_named("onnx:net.onnx")
    for first, second in (images, [image[:20, :20] for image in images], [np.tile(one, (3, 1, 1)) for one in images]):
        pairs = np.stack([first, second]), np.stack([second, first])
        np.testing.assert_allclose(exported.pairs(*pairs), solver.pairs(*pairs), rtol=1e-3, atol=1e-4)
    loaded = torch.export.load("net.pt2").module()
    program = NetworkSolver(lambda pair: loaded(pair).detach())
    np.testing.assert_allclose(program.pairs(images[0][None], images[1][None]), flow, rtol=1e-3, atol=1e-4)
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
    with pytest.raises(InputError, match="holds tsn, which gives no flow; these networks do: actionflownet"):
        with_network(FlowParameters(method=tsn))
    with pytest.raises(ValueError, match="the network of that file is not handed in"):
        ExtractParameters(flow=flow)
    with pytest.raises(ValueError, match="method is 'tvl2'; it must be one of tvl1, .*, or a network's file"):
        FlowParameters(method="tvl2")
    Path(method).write_bytes(Path(tsn).read_bytes())
    with pytest.raises(PipelineError, match="does not see the network that the extraction started with"):
        shards_of(clip_folder, tmp_path / "others", flow=flow, network=handed_in)


def test_networks_that_give_no_flow_between_two_images_say_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds tsn, which gives no flow; these networks do: actionflownet, .*, dis"):
        solver_named(saved(tmp_path / "tsn.pt", "tsn"))
    with pytest.raises(InputError, match="reads 4 frames at once; the flow of two images needs a network of two fr"):
        solver_named(saved(tmp_path / "3d.pt", "actionflownet", snippet_length=4))
    with pytest.raises(InputError, match="2f.pt holds actionflownet_2f, which was built without the part that gives"):
        solver_named(saved(tmp_path / "2f.pt", decoder=False))
    (tmp_path / "no.onnx").write_bytes(b"no network")
    pytest.importorskip("onnxruntime")
    with pytest.raises(InputError, match="no.onnx is no network in ONNX"):
        solver_named(f"onnx:{tmp_path / 'no.onnx'}")


def test_displacement_maps_of_two_frames_are_a_flow_method(tmp_path: Path, images) -> None:
    state = build_model("disentangled", num_classes=2, snippet_length=2).state_dict()
    save_checkpoint(Checkpoint("disentangled", {"snippet_length": 2}, 2, 64, state), tmp_path / "net.pt")
    flow = solver_named(str(tmp_path / "net.pt")).pairs(images[1][None], images[0][None])  # moved 2 px to the right
    assert flow.shape == (1, 50, 70, 2) and flow[..., 0].mean() == pytest.approx(2, abs=0.5)


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


def test_pairs_without_their_files_are_refused_before_anything_is_measured(tmp_path: Path) -> None:
    root = tmp_path / "chairs"
    (root / "data").mkdir(parents=True)
    (root / "FlyingChairs_train_val.txt").write_text("2\n2\n1\n")
    for number in (1, 2):
        for image in (1, 2):
            cv2.imwrite(str(root / f"data/{number:05d}_img{image}.ppm"), np.zeros((8, 8, 3), np.uint8))
    write_flo(root / "data/00001_flow.flo", np.zeros((8, 8, 2), np.float32))
    pairs = read_dataset("flying-chairs", root)
    assert len(list(known_pairs(pairs, "val", limit=1))) == 1
    with pytest.raises(InputError, match="data/00002_flow.flo is missing; the error is measured on all 2 pairs of val"):
        known_pairs(pairs, "val", limit=None)
    with pytest.raises(InputError, match="no pair of flying-chairs is for test"):
        known_pairs(pairs, "test", limit=None)


def test_parameters_name_the_methods_that_there_are() -> None:
    assert METHODS == methods.METHODS
