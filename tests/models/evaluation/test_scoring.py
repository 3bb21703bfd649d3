"""Views through a network in bounded memory, and what their average is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tdn_data.models.evaluation import scoring
from tdn_data.models.evaluation.evaluate import evaluate, remark_on_mirrors, restore_model
from tdn_data.models.evaluation.protocol import EvaluateConfig
from tdn_data.models.evaluation.scores import ABOUT, read_scores, write_scores
from tdn_data.models.evaluation.scoring import average_scores
from tdn_data.models.networks import build_model
from tdn_data.models.weights.checkpoint import Checkpoint
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import file_digest
from tdn_data.pipeline.shards.reader import DatasetInfo
from tests.models.evaluation.small import write_checkpoint

CONFIG = EvaluateConfig(num_clips=3, num_crops=10, views_per_batch=7)


def test_a_video_with_smaller_frames_than_the_crop_is_named(coloured, checkpoint: Path) -> None:
    words = "v08 is stored at .* x .* pixels; the network sees 500 x 500: set a smaller `size` of the run's `test`"
    for config in (CONFIG, replace(CONFIG, spatial="random")):
        with pytest.raises(InputError, match=words):
            evaluate(coloured, checkpoint, config=replace(config, size=500))


def test_a_batch_of_views_takes_bounded_memory(coloured, checkpoint: Path, monkeypatch) -> None:
    seen, whole = [], evaluate(coloured, checkpoint, config=replace(CONFIG, views_per_batch=30)).scores
    normalize = scoring.normalize_batch
    monkeypatch.setattr(scoring, "normalize_batch", lambda batch: seen.append(len(batch)) or normalize(batch))
    monkeypatch.setattr(scoring, "MAX_BATCH_BYTES", 5 * 4 * 2 * 3 * 24 * 24)
    np.testing.assert_allclose(evaluate(coloured, checkpoint, config=CONFIG).scores, whole, rtol=1e-4, atol=1e-5)
    assert set(seen) == {5}


def test_a_mirrored_view_speaks_for_the_class_whose_mirrored_video_it_looks_like(make_shards, tmp_path) -> None:
    """Ten crops of a mirrored video are those of the video, so that one's left is the other's right."""
    frames = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    videos = [("seen", "test", (0,), frames), ("mirrored", "test", (1,), frames[:, :, ::-1])]
    names = ("move_left", "move_right")
    reader = make_shards(videos, class_names=names, name="demo")
    config = replace(CONFIG, num_clips=1)
    scores = evaluate(reader, write_checkpoint(tmp_path, dataset="demo", class_names=names), config=config).scores
    (seen, mirrored), other = scores, evaluate(reader, write_checkpoint(tmp_path, class_names=names), config=config)
    assert seen == pytest.approx(mirrored[::-1], abs=1e-5) and abs(seen[0] - seen[1]) > 1e-4
    assert other.scores[0] == pytest.approx(other.scores[1], abs=1e-5)  # no pairs are known: both are averaged


@pytest.mark.parametrize(
    ("name", "trained_mirrored", "remarks"), [("demo", False, 0), ("folder", False, 1), ("folder", True, 0)]
)
def test_mirrored_views_are_remarked_on_where_training_had_none_and_no_pairs_are_known(
    caplog, name: str, trained_mirrored: bool, remarks: int
) -> None:
    info = DatasetInfo(name, ("left", "right"), False, {})
    for config in (CONFIG, replace(CONFIG, num_crops=3)):
        remark_on_mirrors(config, info, trained_mirrored=trained_mirrored)
    assert len(caplog.messages) == remarks and all(
        "half of the test's views are mirrored" in one for one in caplog.messages
    )


def test_averages_before_and_after_softmax() -> None:
    scores = torch.randn(7, 3, 4)
    softmax = scores.softmax(-1)
    torch.testing.assert_close(average_scores(scores, "logits"), scores.mean(0))
    torch.testing.assert_close(average_scores(scores, "softmax").softmax(-1), softmax.mean(0))
    torch.testing.assert_close(average_scores(scores, "log"), softmax.log().mean(0))


def test_clips_are_kept_beside_videos_and_both_say_how_they_were_made(coloured, checkpoint: Path, tmp_path) -> None:
    path = tmp_path / "run/clip_scores.parquet"
    result = evaluate(coloured, checkpoint, config=replace(CONFIG, clip_scores=True), clip_scores=path)
    table = pq.read_table(path)
    clips = np.array(table["scores"].to_pylist()).reshape(4, 3, 2)
    np.testing.assert_allclose(clips.mean(1), result.scores, rtol=1e-4, atol=1e-5)
    truth = np.array([0, 1, 0, 1])[:, None]
    assert result.clip_metrics == {"clip_hit1": (clips.argmax(2) == truth).mean(), "clip_hit5": 1.0}
    write_scores(tmp_path / "scores.parquet", result)
    about = read_scores(tmp_path / "scores.parquet").about
    assert about == json.loads(table.schema.metadata[ABOUT])
    assert about["checkpoint"] == file_digest(checkpoint) and about["protocol"]["num_clips"] == 3


@pytest.mark.parametrize("name", ["conv_pooling", "lstm"])
def test_a_network_may_be_tested_on_more_frames_than_it_was_trained_on(name: str) -> None:
    options = {"backbone": "resnet18", "width": 8, "num_segments": 3}
    saved = Checkpoint(name, options, 2, 32, build_model(name, num_classes=2, **options).state_dict())
    model = restore_model(saved, num_segments=12)
    assert model.num_segments == 12 and model(torch.zeros(1, 12, 1, 3, 32, 32)).shape == (1, 2)


def test_a_network_with_weights_for_each_window_of_frames_says_so() -> None:
    options = {"backbone": "resnet18", "width": 8, "num_segments": 10}
    weights = build_model("local_pooling", num_classes=2, **options).state_dict()
    with pytest.raises(InputError, match="local_pooling was trained on clips of 10 snippets and .* not serve for 40"):
        restore_model(Checkpoint("local_pooling", options, 2, 32, weights), num_segments=40)
