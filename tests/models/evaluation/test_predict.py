"""A network on a video file gives the scores that it has by way of shards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax

from tdn_data.models.evaluation.evaluate import evaluate
from tdn_data.models.evaluation.predict import Predictor
from tdn_data.models.evaluation.protocol import EvaluateConfig
from tdn_data.models.weights.checkpoint import read_checkpoint, save_checkpoint
from tdn_data.pipeline.errors import InputError, VideoError
from tdn_data.pipeline.parameters import FlowParameters, FrameParameters
from tests.conftest import write_clip
from tests.models.evaluation.small import checkpoint_for, shards_of

CONFIG = EvaluateConfig(num_clips=3, num_crops=3, max_missing_share=0.5, seed=7)  # three clips at random
SIZE = {"height": 48, "width": 64}
SECTIONS = {
    "png": {"frames": FrameParameters(codec="png", fps=5, **SIZE)},
    "jpeg": {"frames": FrameParameters(codec="jpeg", fps=5, **SIZE)},
    "flow": {"flow": FlowParameters(codec="png", **SIZE)},
}


@pytest.mark.parametrize("kind", SECTIONS)
def test_a_video_has_the_same_scores_straight_from_its_file_as_through_shards(clip_folder, tmp_path, kind) -> None:
    reader = shards_of(clip_folder, tmp_path / "shards", **SECTIONS[kind])
    path = checkpoint_for(reader, tmp_path / "checkpoint.pt")
    expected = evaluate(reader, path, config=CONFIG)
    predictor = Predictor(path, config=CONFIG)
    for video_id, scores in list(zip(expected.video_ids, expected.scores, strict=True))[:2]:
        prediction = predictor(clip_folder / f"{video_id}.mp4", video_id=video_id)
        np.testing.assert_array_equal(prediction.scores, scores)  # JPEG, too: it is encoded and decoded as shards do
        np.testing.assert_allclose(prediction.probabilities, softmax(scores), rtol=1e-5)
    best = prediction.class_names[int(scores.argmax())]
    assert prediction.top(1) == [(best, pytest.approx(softmax(scores).max()))] and len(prediction.top(9)) == 2


def test_frames_without_loss_and_as_jpeg_95_hardly_change_a_probability(clip_folder, tmp_path: Path) -> None:
    readers = [shards_of(clip_folder, tmp_path / kind, **SECTIONS[kind]) for kind in ("png", "jpeg")]
    path = checkpoint_for(readers[0], tmp_path / "checkpoint.pt")
    png, jpeg = (softmax(evaluate(reader, path, config=CONFIG).scores, axis=1) for reader in readers)
    assert 0 < np.abs(png - jpeg).max() < 0.02


def test_fewer_frames_than_a_clip_has_are_remarked_on(clip_folder, tmp_path: Path) -> None:
    reader = shards_of(clip_folder, tmp_path / "shards", **SECTIONS["png"])
    predictor = Predictor(checkpoint_for(reader, tmp_path / "checkpoint.pt"))
    clip = predictor._score.shape
    write_clip(tmp_path / "one.mp4", num_frames=1)
    write_clip(tmp_path / "many.mp4", num_frames=2 * clip.num_segments * clip.snippet_length + 1)  # half are sampled
    one, many = (predictor(tmp_path / name) for name in ("one.mp4", "many.mp4"))
    assert one.remark == "only one frame was sampled of it and the network wants 2: it saw the same one all the time"
    assert one.problem is None
    assert many.remark is None


def test_broken_videos_and_checkpoints_from_elsewhere_are_named(clip_folder, tmp_path: Path) -> None:
    reader = shards_of(clip_folder, tmp_path / "shards", **SECTIONS["flow"])
    path = checkpoint_for(reader, tmp_path / "checkpoint.pt")
    predictor = Predictor(path)
    with pytest.raises(VideoError) as error:
        predictor(clip_folder / "videos/garbage.mp4")
    assert error.value.reason == "unreadable"
    write_clip(tmp_path / "one.mp4", num_frames=1)
    with pytest.raises(VideoError, match="the video has one frame; flow needs two"):
        predictor(tmp_path / "one.mp4")
    with pytest.raises(VideoError, match="stored at 48 x 64 pixels; the network sees 56 x 56"):
        Predictor(path, config=EvaluateConfig(num_clips=1, num_crops=1, size=56))(clip_folder / "videos/clip 03.mp4")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="other.pth is no checkpoint of this program"):
        Predictor(tmp_path / "other.pth")
    saved = read_checkpoint(path)
    for changes in ({"parameters": {"colour": "blue"}}, {"normalization": ((0.0, 0.0), (1.0, 1.0))}):
        save_checkpoint(replace(saved, data=saved.data | changes), path)
        with pytest.raises(InputError, match="trained on videos that were stored in another way than this version"):
            Predictor(path)
