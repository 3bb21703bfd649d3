"""The stage `train` where it meets a person."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tdn_data.models.weights.published import URLS
from tdn_data.stages.params import PARAMS
from tdn_data.stages.train import main


def test_without_a_connection_the_stage_says_where_imagenet_weights_belong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    params = yaml.safe_load(PARAMS.read_text())
    params["defaults"]["train"]["init"] = ["imagenet"]
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setitem(URLS, "resnet18", "http://127.0.0.1:1/resnet18-f37072fd.pth")  # nobody listens there
    with pytest.raises(SystemExit) as stop:
        main("tsn-rgb")
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "error: http://127.0.0.1:1/resnet18-f37072fd.pth cannot be downloaded" in said
    assert f"put it at {tmp_path}/torch/hub/checkpoints/resnet18-f37072fd.pth" in said
