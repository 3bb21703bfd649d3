"""`tdn-data flow-error` on Sintel's layout: the pass that is asked for is the one that is measured."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from tdn_data.pipeline.flow import write_flo
from tdn_data.pipeline.images import write_png
from tdn_data.stages.cli import main


@pytest.fixture
def sintel(tmp_path):
    """One pair: what moves by two pixels in the clean pass stands still in the final one."""
    texture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    for name, shift in (("clean", 2), ("final", 0)):
        folder = tmp_path / "training" / name / "alley"
        folder.mkdir(parents=True)
        write_png(folder / "frame_0001.png", texture)
        write_png(folder / "frame_0002.png", np.roll(texture, shift, axis=1))
    flow = tmp_path / "training/flow/alley/frame_0001.flo"
    flow.parent.mkdir(parents=True)
    write_flo(flow, np.tile(np.float32([2, 0]), (64, 64, 1)))
    return tmp_path


def measured(root, *options):
    arguments = ["flow-error", "--dataset", "sintel", "--root", str(root), "--method", "dis", "--json", *options]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_pass_that_is_asked_for_is_measured(sintel):
    clean, final = measured(sintel), measured(sintel, "--pass", "final")
    assert clean == measured(sintel, "--pass", "clean")
    assert clean["epe"] < 0.5 and final["epe"] == pytest.approx(2, abs=0.05)
    assert clean["still"] == final["still"] == pytest.approx(2)


def test_a_pass_is_sintels(sintel):
    other = ["flow-error", "--dataset", "flying-chairs", "--root", str(sintel), "--pass", "final"]
    result = CliRunner().invoke(main, other)
    assert result.exit_code == 2 and "--pass has no effect without --dataset sintel; leave it out" in result.output
