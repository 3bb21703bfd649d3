"""One shard in a folder's place: everything that shows and exports reads it alone."""

import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tdn_data.pipeline.errors import InputError, ShardError
from tdn_data.pipeline.export.export import export_shards
from tdn_data.pipeline.shards.reader import ShardReader
from tdn_data.pipeline.shards.single import storage_at
from tdn_data.pipeline.shards.storage import Storage
from tdn_data.pipeline.view.inspect import contact_sheet, inspect_shards
from tdn_data.pipeline.view.video_table import stored_columns, video_details, video_table
from tdn_data.stages.cli import main


@pytest.fixture(params=["parquet", "lmdb"])
def folder(request, write_small_shards, tmp_path):
    (tmp_path / "shards").mkdir()
    return write_small_shards(tmp_path / "shards", request.param)


@pytest.mark.parametrize(("modality", "name"), [("rgb", "frames"), ("flow", "flow")])
def test_a_shard_alone_shows_what_its_folder_does_of_it(folder, tmp_path, modality, name):
    (shard,) = folder.glob(f"{name}-*")
    alone = tmp_path / shard.name
    shutil.copy(shard, alone)  # with nothing beside it
    inspection = inspect_shards(alone)
    (summary,) = inspection.modalities
    assert (summary.modality, summary.num_shards, summary.num_videos) == (modality, 1, 3)
    assert inspection.location == str(alone) and [row.video_id for row in inspection.failures] == ["lost"]
    assert [line.video_id for line in video_table(alone, limit=9).videos] == ["a/1.x", "a_1_x", "b 2", "lost"]
    assert list(video_details(alone, "b 2").rows) == [modality] == list(stored_columns(alone))
    whole, single = (ShardReader(path, modality=modality).read("b 2") for path in (folder, alone))
    assert np.array_equal(whole.data, single.data)
    assert contact_sheet(alone, num_videos=2, thumbnail=32).ndim == 3
    assert export_shards(alone, tmp_path / "out", to="npy").num_videos == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([shard.name, "out", "shards"])


def test_what_is_no_shard_there_is_one_sentence(small_shards, tmp_path):
    with pytest.raises(InputError, match="frames-00000-of-00009.parquet is missing"):
        inspect_shards(tmp_path / "frames-00000-of-00009.parquet")
    (shard,) = small_shards.glob("frames-*.parquet")
    (tmp_path / shard.name).write_bytes(shard.read_bytes()[:-50])
    with pytest.raises(ShardError, match=shard.name):
        inspect_shards(tmp_path / shard.name)
    assert type(storage_at(small_shards / "index.parquet")) is Storage


def test_an_address_of_a_shard_keeps_its_options(monkeypatch):
    made = []
    monkeypatch.setattr("tdn_data.pipeline.shards.single.ShardFile", lambda *where: made.append(where))
    storage_at("s3://bucket/set/frames-00000-of-00001.parquet?endpoint_override=http://127.0.0.1:9")
    assert made == [("s3://bucket/set?endpoint_override=http://127.0.0.1:9", "frames-00000-of-00001.parquet")]


def test_the_command_takes_a_shard_and_plays_a_video(folder, tmp_path):
    def run(*arguments):
        return CliRunner().invoke(main, ["inspect", *map(str, arguments)])

    (shard,) = folder.glob("flow-*")
    table = CliRunner().invoke(main, ["inspect", str(shard), "--videos"], env={"COLUMNS": "100"})
    assert table.exit_code == 0 and "flow" in table.stdout and "frames" not in table.stdout.replace(str(shard), "")
    result = run(folder, "--video", "b 2", "--gif", tmp_path / "b.gif", "--mp4", tmp_path / "b.mp4")
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "b.gif") as gif:
        assert (gif.n_frames, gif.size) == (3, (48, 16))  # the flow beside the frames
    assert (tmp_path / "b.mp4").stat().st_size > 0
    assert "--gif has no effect without --video" in run(folder, "--gif", tmp_path / "c.gif").output
    assert run(tmp_path / "b.mp4").exit_code == 2
