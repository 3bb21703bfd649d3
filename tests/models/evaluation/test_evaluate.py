"""Testing: every video of the split has a score, or the run says which has none."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tdn_data.models.clips.cut import Cut
from tdn_data.models.clips.views import ClipShape, Views, video_views
from tdn_data.models.evaluation.evaluate import evaluate, restore_model
from tdn_data.models.evaluation.protocol import EvaluateConfig
from tdn_data.models.evaluation.scores import SCORES_SCHEMA, VideoScores, in_order_of, read_scores, write_scores
from tdn_data.models.weights.checkpoint import read_checkpoint, save_checkpoint
from tdn_data.models.weights.trained_on import NORMALIZATION
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.shards.reader import ShardReader
from tests.models.evaluation.small import COLOURED, write_checkpoint

CONFIG = EvaluateConfig(num_clips=2, num_crops=1)


def with_failures(make_shards, count: int) -> ShardReader:
    """Return a reader of ten listed test videos, `count` of them failed."""
    frames = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    videos = [(f"v{number}", "test", (number % 2,), None if number < count else frames) for number in range(10)]
    return make_shards(videos, class_names=("red", "green"))


def test_every_test_video_has_a_score(coloured: ShardReader, checkpoint: Path) -> None:
    seen = []
    result = evaluate(coloured, checkpoint, config=CONFIG, on_progress=lambda *state: seen.append(state))
    assert result.video_ids == ("v08", "v09", "v10", "v11")
    assert result.labels == ((0,), (1,), (0,), (1,))
    assert result.scores.shape == (4, 2)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_score_is_the_mean_over_the_views_before_softmax(coloured: ShardReader, checkpoint: Path) -> None:
    model = restore_model(read_checkpoint(checkpoint)).cpu()
    video = next(video for video in coloured.videos if video.video_id == "v09")
    views = video_views(coloured, video, ClipShape(2, 1, 24), num_clips=3, num_crops=10)
    with torch.no_grad():
        expected = model(views).mean(0).numpy()
    result = evaluate(coloured, checkpoint, config=EvaluateConfig(num_clips=3, num_crops=10, views_per_batch=7))
    np.testing.assert_allclose(result.scores[1], expected, rtol=1e-4, atol=1e-5)


def test_the_data_sets_own_split_is_tested_unless_another_is_named(make_shards, checkpoint: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    videos = [(split, split, (0,), frames) for split in ("test", "train", "val")]
    reader = make_shards(videos, class_names=("red", "green"), name="kinetics400")
    assert evaluate(reader, checkpoint, config=CONFIG).video_ids == ("val",)
    assert evaluate(reader, checkpoint, config=replace(CONFIG, split="test")).video_ids == ("test",)


def test_a_split_without_a_video_is_named_with_those_there_are(make_shards, checkpoint: Path) -> None:
    frames = np.zeros((4, 32, 32, 3), np.uint8)
    reader = make_shards([("v", "train", (0,), frames)], class_names=("red", "green"), name="something-v2")
    with pytest.raises(InputError, match="no video of the split 'val' has frames in the something-v2 shards .*1 in 't"):
        evaluate(reader, checkpoint, config=CONFIG)


def test_a_short_sports_video_is_tested_repeated_and_cut_as_in_training(
    make_shards, tmp_path: Path, monkeypatch
) -> None:
    asked = []

    def views(*arguments, of=Views.of, **options):
        asked.append((arguments[0].cut, options["repeat_to"]))
        return of(*arguments, **options)

    monkeypatch.setattr(Views, "of", views)
    frames = np.zeros((4, 32, 32, 3), np.uint8)
    reader = make_shards(
        [("v", "test", (0,), frames)], class_names=("red", "green"), name="sports1m", parameters={"fps": 1.0}
    )
    every, own = {"parameters": {"codec": "png", "fps": 1.0}}, replace(CONFIG, cut="segments")
    evaluate(reader, write_checkpoint(tmp_path, **every), config=CONFIG)
    for config in (CONFIG, own):
        evaluate(reader, write_checkpoint(tmp_path, {"kind": "consecutive", "fps": 0.5}, **every), config=config)
    assert asked == [(Cut(), 300), (Cut("consecutive", 0.5), 150), (Cut(), 300)]
    with pytest.raises(InputError, match="clips that are cut as 'sliced': cut is 'sliced'; known cuts"):
        evaluate(reader, write_checkpoint(tmp_path, {"kind": "sliced"}, **every), config=CONFIG)


def test_the_crops_of_a_test_may_be_larger_than_those_of_training(coloured: ShardReader, checkpoint: Path) -> None:
    own, larger = (evaluate(coloured, checkpoint, config=replace(CONFIG, num_crops=3, size=size)) for size in (24, 32))
    np.testing.assert_array_equal(
        evaluate(coloured, checkpoint, config=replace(CONFIG, num_crops=3)).scores, own.scores
    )
    assert (own.scores != larger.scores).any()


def test_same_seed_same_scores(coloured: ShardReader, checkpoint: Path) -> None:
    first, again = (evaluate(coloured, checkpoint, config=CONFIG).scores for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (evaluate(coloured, checkpoint, config=replace(CONFIG, seed=1)).scores != first).any()


def test_missing_videos_are_named(make_shards, checkpoint: Path) -> None:
    with pytest.raises(InputError, match="2 of 10 test videos have no frames to score: v0, v1; ledger"):
        evaluate(with_failures(make_shards, 2), checkpoint, config=CONFIG)


def test_share_of_missing_videos_can_be_allowed(make_shards, checkpoint: Path, caplog) -> None:
    reader = with_failures(make_shards, 2)
    with caplog.at_level(logging.WARNING):
        result = evaluate(reader, checkpoint, config=replace(CONFIG, max_missing_share=0.2))
    assert len(result.video_ids) == 8
    assert "2 of 10 test videos have no frames and are left out" in caplog.text
    with pytest.raises(InputError, match="2 of 10"):
        evaluate(reader, checkpoint, config=replace(CONFIG, max_missing_share=0.19))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"class_names": ("red", "blue")},
            "2 classes where the shards have 2, only in training: blue, only in the sh.*: g",
        ),
        ({"modality": "flow"}, "modality flow where the shards have rgb"),
        ({"multi_label": True}, "multi_label True where the shards have False"),
        ({"parameters": {"codec": "png", "fps": 3.0}}, "fps 3.0 where the shards have null"),
        ({"parameters": {"codec": "png", "every_seconds": 3.0}}, "every_seconds 3.0 where the shards have null"),
        ({"normalization": ((0.5,) * 3, (0.5,) * 3)}, "normalization .* where the shards have"),
    ],
)
def test_a_checkpoint_of_other_data_is_refused_by_what_differs(coloured, tmp_path: Path, changes, words: str) -> None:
    with pytest.raises(InputError, match=f"checkpoint.pt was trained with {words}.*; train on these shards"):
        evaluate(coloured, write_checkpoint(tmp_path, **changes), config=CONFIG)


def test_a_checkpoint_of_flow_of_another_bound_is_refused(make_shards, tmp_path: Path) -> None:
    flow = np.full((4, 32, 32, 2), 128, np.uint8)
    reader = make_shards([("v", "test", (0,), flow)], class_names=("red", "green"), parameters={"bound": 20.0})
    path = write_checkpoint(
        tmp_path, modality="flow", normalization=NORMALIZATION["flow"], parameters={"codec": "png", "bound": 15.0}
    )
    with pytest.raises(InputError, match="bound 15.0 where the shards have 20.0"):
        evaluate(reader, path, config=CONFIG)


def test_scores_stand_in_the_order_of_the_shards_classes(coloured, tmp_path: Path) -> None:
    plain = evaluate(coloured, write_checkpoint(tmp_path), config=CONFIG).scores
    turned = evaluate(coloured, write_checkpoint(tmp_path, class_names=("green", "red")), config=CONFIG).scores
    np.testing.assert_array_equal(turned, plain[:, ::-1])
    assert (turned != plain).any()


def test_a_checkpoint_of_another_network_is_refused_under_a_runs_name(coloured, checkpoint: Path) -> None:
    with pytest.raises(InputError, match="checkpoint.pt holds the network tdn, not tsn; train tsn again"):
        evaluate(coloured, checkpoint, config=CONFIG, network="tsn")


def test_a_checkpoint_that_does_not_say_its_data_is_refused(coloured, checkpoint: Path, tmp_path: Path) -> None:
    saved = read_checkpoint(checkpoint)
    for data in (None, {}, {**COLOURED.as_dict(), "class_names": ["red"]}, {**COLOURED.as_dict(), "more": 1}):
        save_checkpoint(replace(saved, data=data), tmp_path / "other.pt")
        with pytest.raises(InputError, match="other.pt does not say what it was trained on"):
            evaluate(coloured, tmp_path / "other.pt", config=CONFIG)


def test_other_sizes_are_tested_with_a_word(coloured, tmp_path: Path, caplog) -> None:
    path = write_checkpoint(tmp_path, parameters={"codec": "png", "height": 64, "width": 64})
    with caplog.at_level(logging.WARNING):
        evaluate(coloured, path, config=CONFIG)
    assert "was trained with height 64 where the shards have null; width 64" in caplog.text


@pytest.mark.parametrize("changes", [{"width": 16}, {"width": 0}, {"backbone": "resnet1"}, {"more": 1}])
def test_options_that_do_not_make_the_weights_are_a_damaged_checkpoint(checkpoint: Path, changes: dict) -> None:
    saved = read_checkpoint(checkpoint)
    with pytest.raises(InputError, match="the checkpoint of tdn is damaged"):
        restore_model(replace(saved, options=saved.options | changes))


def test_scores_survive_the_disk(tmp_path: Path) -> None:
    scores = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    result = VideoScores(("a", "b b", "ü"), ((0,), (), (1, 3)), scores)
    write_scores(tmp_path / "new/scores.parquet", result)
    back = read_scores(tmp_path / "new/scores.parquet")
    assert (back.video_ids, back.labels) == (result.video_ids, result.labels)
    np.testing.assert_array_equal(back.scores, scores)


def test_missing_or_damaged_scores_are_named(tmp_path: Path) -> None:
    for folder, command in (("runs", "evaluate@one"), ("fusions", "fuse@one")):
        path = tmp_path / folder / "one/scores.parquet"
        with pytest.raises(InputError, match=f"scores.parquet is missing; `dvc repro {command}` makes it"):
            read_scores(path)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"no parquet")
        words = f"scores.parquet is damaged or holds no scores; delete it, and `dvc repro {command}` makes it again.$"
        with pytest.raises(InputError, match=words):
            read_scores(path)
    (tmp_path / "test.parquet").write_bytes(b"")
    with pytest.raises(InputError, match="delete it, and the command that tested the run makes it again"):
        read_scores(tmp_path / "test.parquet")


GOOD_ROW = {"video_id": "a", "labels": [0], "scores": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "there are scores of no video"),
        ([GOOD_ROW, GOOD_ROW], "a video has two rows of scores"),
        ([GOOD_ROW, {"video_id": "b", "labels": [0], "scores": [1.0]}], "videos have different numbers of scores"),
        ([GOOD_ROW | {"scores": [1.0, float("nan")]}], "scores of a are not finite"),
        ([GOOD_ROW | {"labels": [2]}], "labels are of other classes than the 2 that have scores"),
        *[([GOOD_ROW | {name: None}], "values are missing") for name in GOOD_ROW],
        ([GOOD_ROW | {"scores": [1.0, None]}], "values are missing"),
    ],
)
def test_scores_that_no_test_gives_are_refused(tmp_path: Path, rows: list, words: str) -> None:
    pq.write_table(pa.Table.from_pylist(rows, schema=SCORES_SCHEMA), tmp_path / "scores.parquet")
    with pytest.raises(InputError, match=f"scores.parquet is damaged: {words}; delete it, and"):
        read_scores(tmp_path / "scores.parquet")


def test_streams_of_other_videos_are_not_fused() -> None:
    one, other = (VideoScores(ids, ((0,), (0,)), np.zeros((2, 2))) for ids in (("a", "b"), ("a", "c")))
    with pytest.raises(
        InputError,
        match="scores of 'b' for the first run alone and 'c' for the second alone; evaluate both runs on the",
    ):
        in_order_of(one.video_ids, other)


def test_streams_are_joined_by_the_videos_names_not_by_their_places() -> None:
    scores = VideoScores(("a", "b", "c"), ((0,), (1,), (2,)), np.arange(9.0).reshape(3, 3))
    turned = in_order_of(("c", "a", "b"), scores)
    assert turned.video_ids == ("c", "a", "b") and turned.labels == ((2,), (0,), (1,))
    assert turned.scores.tolist() == [[6, 7, 8], [0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_crops": 5}, "num_crops is 5; it must be 1, 3 or 10"),
        ({"num_clips": 0}, "num_clips is 0; it must be from 1 to 1,024"),
        ({"max_missing_share": 1.0}, "max_missing_share is 1.0; it must be at least 0 and below 1"),
    ],
)
def test_impossible_values_are_named(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EvaluateConfig(**wrong)


def test_several_processes_give_the_same_scores(coloured: ShardReader, checkpoint: Path, tmp_path: Path) -> None:
    config, seen = replace(CONFIG, spatial="random", num_crops=3, clip_scores=True, seed=4), []
    one = evaluate(coloured, checkpoint, config=config, clip_scores=tmp_path / "one.parquet")
    options = {"num_processes": 2, "on_progress": lambda *state: seen.append(state)}
    two = evaluate(coloured, checkpoint, config=config, clip_scores=tmp_path / "two.parquet", **options)
    assert two.video_ids == one.video_ids and two.clip_metrics == one.clip_metrics
    np.testing.assert_array_equal(two.scores, one.scores)
    assert pq.read_table(tmp_path / "two.parquet") == pq.read_table(tmp_path / "one.parquet")
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    with pytest.raises(InputError, match="no Ray could be reached at 127.0.0.1:1"):
        evaluate(coloured, checkpoint, config=CONFIG, ray_address="127.0.0.1:1")
