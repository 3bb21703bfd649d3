"""The contact sheet of an extraction: what its colours say."""

import csv

import cv2
import numpy as np
import pytest

from tdn_data.pipeline.datasets.index import index_dataset
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.extraction.engine import run_extraction
from tdn_data.pipeline.parameters import ExtractParameters, FlowParameters, FrameParameters
from tdn_data.pipeline.shards.reader import ShardReader
from tdn_data.pipeline.video import write_video
from tdn_data.pipeline.view.flow_pictures import flow_scale
from tdn_data.pipeline.view.inspect import contact_sheet, pictures_at
from tdn_data.pipeline.view.sheet import CAPTION_HEIGHT, KEY_SIDE, MARGIN

SPEEDS = {"a still.mp4": 0, "b noise\n.mp4": 0, "c slow.mp4": 1, f"d {'fast_' * 48}.mp4": 4}
CELL = 144


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Clips that stand still, with noise and without, and that move by 1 and by 4 pixels a step to the left."""
    root = tmp_path_factory.mktemp("sheet")
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(0, 256, (72, 200, 3), dtype=np.uint8), (0, 0), 3)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)
    for name, speed in SPEEDS.items():
        frames = np.stack([texture[:, speed * step : speed * step + 96] for step in range(5)]).astype(int)
        frames += rng.normal(0, 3 if "noise" in name else 0, frames.shape).astype(int)
        write_video(root / name, np.clip(frames, 0, 255).astype(np.uint8), fps=10)
    with (root / "videos.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "split", "labels"), *((name, "train", "x") for name in SPEEDS)])
    parameters = ExtractParameters(frames=FrameParameters(), flow=FlowParameters(bound=20, codec="png"))
    run_extraction(index_dataset("folder", root), parameters, out=root / "out", num_workers=2)
    return root / "out"


def flow_row(sheet, number):
    """Return the pictures of flow of one video of a sheet, without their lines, stamps and margins."""
    top = number * (CAPTION_HEIGHT + 2 * (CELL + MARGIN)) + CAPTION_HEIGHT + CELL + MARGIN
    width = CELL * 96 // 72
    cells = [MARGIN + (width + MARGIN) * column for column in range(4)]
    return np.stack([sheet[top + 30 : top + 100, left + 30 : left + width - 30] for left in cells]).astype(int)


def saturation(pictures):
    return float((pictures.max(-1) - pictures.min(-1)).mean() / 255)


def test_a_notebook_shows_one_video_with_its_flow(shards):
    from tdn_data.pipeline.view import show

    shown = show(shards, "c slow", num_columns=4)
    drawn = cv2.imdecode(np.frombuffer(shown._repr_png_(), np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(drawn[..., ::-1], shown.picture) and repr(shown).startswith("Shown('c slow', ")
    assert saturation(flow_row(shown.picture, 0)) > 0.3
    with pytest.raises(InputError, match="nothing of 'none' is stored"):
        show(shards, "none")


def test_all_flow_of_a_sheet_is_on_one_scale_and_what_is_still_is_white(shards):
    sheet = contact_sheet(shards)
    still, noise, slow, fast = (flow_row(sheet, number) for number in range(4))
    assert (still == 255).all()
    assert saturation(noise) < 0.1
    assert saturation(fast) > 0.7 and saturation(slow) == pytest.approx(saturation(fast) / 4, rel=0.3)
    assert fast[..., 2].mean() > 200 > fast[..., 0].mean()  # to the left is blue
    height = 4 * (CAPTION_HEIGHT + 2 * (CELL + MARGIN)) + CAPTION_HEIGHT + KEY_SIDE + MARGIN + MARGIN
    assert sheet.shape[0] == height and sheet.shape[1] <= 1200 + MARGIN


def test_a_still_video_alone_is_no_noise_in_full_colour(shards):
    reader = ShardReader(shards, modality="flow")
    for name in ("a still", "b noise\n"):
        pictures, _ = pictures_at(reader, name, np.array([0.0, 0.2]))
        assert saturation(np.stack(pictures).astype(int)) < 0.15


def test_the_scale_has_a_floor_and_forgets_single_wild_vectors():
    field = np.zeros((100, 100, 2), np.float32)
    assert flow_scale([field], bound=5) == 1.0 and flow_scale([field], bound=127.5) == 10.0
    field[..., 0] = 3
    field[0, :10] = 90
    assert flow_scale([np.zeros((4, 4, 2)), field], bound=5) == pytest.approx(3)
