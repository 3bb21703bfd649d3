"""The table of videos and one video frame by frame."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from tdn_data.pipeline.errors import InputError, ShardError
from tdn_data.pipeline.flow import dequantize
from tdn_data.pipeline.shards.reader import ShardReader
from tdn_data.pipeline.view.video_table import SORTS, stored_columns, video_details, video_table
from tdn_data.stages.cli import main
from tdn_data.stages.cli.stored_videos import sparkline


def names(table):
    return [line.video_id for line in table.videos]


def test_videos_are_sorted_and_chosen_and_what_failed_says_why(small_shards):
    assert names(video_table(small_shards)) == ["a/1.x", "a_1_x", "b 2", "lost"]
    for sort, field in SORTS.items():
        values = [getattr(line, field) for line in video_table(small_shards, sort=sort).videos if line.status == "ok"]
        assert len(values) == 3 and values == sorted(values, reverse=True)
    assert names(video_table(small_shards, class_name="cook", split="train")) == ["a/1.x", "lost"]
    (lost,) = video_table(small_shards, failed=True).videos
    assert (lost.status, lost.reason, lost.num_frames, lost.seconds, lost.motion) == (
        "failed",
        "missing",
        0,
        None,
        None,
    )
    first = video_table(small_shards, sort="motion", limit=1)
    assert first.num_videos == 4 and len(first.videos) == 1
    with pytest.raises(InputError, match="'dance' is no class of these shards; there are cook, jump it"):
        video_table(small_shards, class_name="dance")


def test_motion_is_that_of_the_stored_flow_row_by_row(small_shards):
    details = video_details(small_shards, "b 2")
    levels = ShardReader(small_shards, modality="flow").read("b 2").data
    flow = dequantize(levels, 20.0) - 20 / 255
    rows = details.rows["flow"]
    assert [row.motion for row in rows] == pytest.approx(np.linalg.norm(flow, axis=-1).mean(axis=(1, 2)).tolist())
    share = ((levels == 0) | (levels == 255)).any(-1).mean(axis=(1, 2))
    assert [row.clipped_share for row in rows] == pytest.approx(share.tolist()) and share.max() > 0
    assert details.video.motion == pytest.approx(np.mean([row.motion for row in rows]))
    assert [row.seconds for row in details.rows["rgb"]] == pytest.approx([0, 0.2, 0.4]) and details.video.seconds == 0.4
    assert sum(row.num_bytes for one in details.rows.values() for row in one) == details.video.stored_bytes


def test_the_commands_print_tables_and_json(small_shards):
    def typed(*words):
        result = CliRunner().invoke(main, ["inspect", str(small_shards), *words], env={"COLUMNS": "160"})
        assert result.exit_code == 0, result.output
        return result.stdout

    assert "failed: missing" in typed("--videos") and "the other 3" in typed("--videos", "--limit", "1")
    assert "not there" in typed("--video", "lost") and "of 16 x 24" in typed("--video", "b 2")
    assert json.loads(typed("--videos", "--failed", "--json"))["num_videos"] == 1
    assert json.loads(typed("--video", "b 2", "--json"))["sizes"] == {"rgb": [16, 24], "flow": [16, 24]}
    assert json.loads(typed("--schema", "--json"))["flow"]["flow_y"] == "binary"
    refused = CliRunner().invoke(main, ["inspect", str(small_shards), "--sort", "motion"])
    assert refused.exit_code == 2 and "has no effect without --videos" in " ".join(refused.output.split())


def test_columns_of_a_damaged_or_missing_shard_are_one_sentence(small_shards, tmp_path):
    folder = shutil.copytree(small_shards, tmp_path / "shards")
    for shard in folder.glob("frames-*.parquet"):
        shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(ShardError, match=r"cut off or damaged; `tdn-data verify"):
        stored_columns(folder)
    for shard in folder.glob("frames-*.parquet"):
        shard.unlink()
    video = next(one.video_id for one in ShardReader(folder).videos)
    with pytest.raises(ShardError, match=r"cannot be opened \(the file is missing\); `tdn-data verify"):
        ShardReader(folder).read(video)


def test_a_sparkline_of_many_values_shows_their_means():
    assert sparkline([5, 5]) == "\u2581\u2581" and sparkline(range(1000), most=8) == "".join(
        map(chr, range(0x2581, 0x2589))
    )
