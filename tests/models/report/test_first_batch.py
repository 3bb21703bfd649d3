"""The picture of a training's first batch, read back from the tensors that the network is given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from tdn_data.models.clips.pixels import normalize
from tdn_data.models.report.first_batch import MAX_CLIPS, first_batch_picture, write_first_batch
from tdn_data.models.training.config import TrainConfig
from tdn_data.models.training.phases import Phase
from tdn_data.pipeline.shards.reader import DatasetInfo
from tdn_data.pipeline.view.sheet import CAPTION_HEIGHT, MARGIN

CONFIG = TrainConfig(batch_size=8, size=56)
INFO = DatasetInfo("folder", ("red", "blue"), False, {})


class Clips(Dataset):
    """Clips of one colour each, two snippets of two frames, the second frame white; flow of the same shape beside."""

    videos = ()

    def __init__(self, channels: int, *, with_flow: bool = False) -> None:
        self._channels, self._with_flow = channels, with_flow

    def __len__(self) -> int:
        return 8

    def __getitem__(self, key: tuple[int, int]) -> tuple[torch.Tensor, ...]:
        clip = np.zeros((2, 2, 56, 56, self._channels), np.uint8)
        clip[..., 0], clip[:, 1] = 200, 255
        flow = (torch.full((2, 1, 2, 56, 56), float("nan")),) if self._with_flow else ()
        return normalize(clip), torch.tensor(key[1] % 2), *flow


def phase_of(dataset: Clips) -> Phase:
    videos = [type("Video", (), {"video_id": f"v{number}"}) for number in range(8)]
    dataset.videos = videos
    return Phase("classes", dataset, tuple(range(8)), range(2))


def test_rows_are_clips_and_columns_their_frames_in_the_colours_that_went_in(tmp_path: Path) -> None:
    path = tmp_path / "training/first_batch.png"
    write_first_batch(path, phase_of(Clips(3)), CONFIG, INFO)
    picture = cv2.imread(str(path))[..., ::-1]
    side, row = 112, CAPTION_HEIGHT + 114  # a small frame is doubled
    assert picture.shape[0] == MAX_CLIPS * row + MARGIN
    for number in range(MAX_CLIPS):
        band = picture[number * row + CAPTION_HEIGHT :][:side]
        assert (band[:, MARGIN : MARGIN + side] == (200, 0, 0)).all()
        assert (band[:, MARGIN + side + 2 :][:, :side] == 255).all()
        assert (band[:, 2 * MARGIN + 2 * (side + 2) :][:, :side] == (200, 0, 0)).all()


def test_flow_is_drawn_by_the_colour_wheel_with_its_key_and_what_is_not_known_is_black() -> None:
    info = replace(INFO, parameters={"bound": 5.0})
    flow = first_batch_picture(phase_of(Clips(2)), CONFIG, info)
    first = flow[CAPTION_HEIGHT + 50, MARGIN + 50].tolist()
    assert first[0] < 255 and first != [200, 200, 200]
    plain = first_batch_picture(phase_of(Clips(3)), CONFIG, INFO)
    beside = first_batch_picture(phase_of(Clips(3, with_flow=True)), CONFIG, INFO)
    assert flow.shape[0] > plain.shape[0]
    assert (beside[CAPTION_HEIGHT + 114 + 50, MARGIN + 50] == 0).all()
