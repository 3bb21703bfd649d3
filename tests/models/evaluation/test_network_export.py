"""A network in a file for other programs gives the scores that it gives here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tdn_data.models.clips.views import ClipShape, Views
from tdn_data.models.evaluation.evaluate import evaluate
from tdn_data.models.evaluation.network_export import export_model
from tdn_data.models.evaluation.protocol import EvaluateConfig
from tdn_data.models.networks import build_model
from tdn_data.models.weights.checkpoint import Checkpoint, save_checkpoint
from tdn_data.pipeline.errors import InputError
from tests.models.evaluation.small import COLOURED


def test_onnx_runtime_and_torch_give_the_scores_of_a_test_from_levels(coloured, checkpoint: Path, tmp_path) -> None:
    runtime, _ = pytest.importorskip("onnxruntime"), pytest.importorskip("onnxscript")
    onnx, program = tmp_path / "tdn.onnx", tmp_path / "tdn.pt2"
    about = export_model(checkpoint, onnx=onnx, program=program)
    assert about["class_names"] == ["red", "green"] and about["input"] == ["batch", 2, 1, 24, 24, 3]
    expected = evaluate(coloured, checkpoint, config=EvaluateConfig(num_clips=1, num_crops=1)).scores
    videos = [video for video in coloured.videos if video.split == "test"]
    clips = np.stack([next(Views(1, 1).of(coloured, video, ClipShape(2, 1, 24)))[0] for video in videos])
    session = runtime.InferenceSession(onnx)
    assert session.get_inputs()[0].shape == about["input"] and session.get_outputs()[0].shape == ["batch", 2]
    np.testing.assert_allclose(session.run(["scores"], {"clip": clips})[0], expected, rtol=1e-4, atol=1e-5)
    assert json.loads(session.get_modelmeta().custom_metadata_map["tdn_data"]) == about
    inside = {"tdn_data.json": ""}
    exported = torch.export.load(program, extra_files=inside).module()
    np.testing.assert_allclose(exported(torch.from_numpy(clips)).detach(), expected, rtol=1e-4, atol=1e-5)
    assert json.loads(inside["tdn_data.json"]) == about


def test_a_network_that_computes_tv_l1_goes_into_a_program_and_not_into_onnx(tmp_path) -> None:
    pytest.importorskip("onnxscript")
    options = {"backbone": "bninception", "snippet_length": 2, "branches": ("motion",), "motion_by": "tvl1"}
    state = build_model("disentangled", num_classes=2, **options).state_dict()
    checkpoint = tmp_path / "checkpoint.pt"
    save_checkpoint(Checkpoint("disentangled", options, 2, 32, state, COLOURED.as_dict(), None), checkpoint)
    with pytest.raises(InputError, match="ONNX does not know tdn_data::tvl1_displacement.*export it for torch"):
        export_model(checkpoint, onnx=tmp_path / "zhao.onnx")
    assert not (tmp_path / "zhao.onnx").exists()
    export_model(checkpoint, program=tmp_path / "zhao.pt2")
    assert (tmp_path / "zhao.pt2").stat().st_size > 1e6
