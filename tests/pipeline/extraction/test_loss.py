"""Nothing that is stored goes without `--allow-loss`: broken videos, shorter lists, what an interrupted run left."""

import contextlib
import shutil
from pathlib import Path

import av
import pytest
from click.testing import CliRunner

from tdn_data.pipeline.datasets.index import index_dataset
from tdn_data.pipeline.errors import InputError, PipelineError, ShardError
from tdn_data.pipeline.extraction.engine import NEW_FOLDER, run_extraction
from tdn_data.pipeline.parameters import ExtractParameters, FlowParameters, FrameParameters
from tdn_data.pipeline.shards.ledger import read_index, read_ledger
from tdn_data.pipeline.shards.reader import ShardReader
from tdn_data.pipeline.shards.shard_formats import open_shard
from tdn_data.pipeline.shards.storage import Storage
from tdn_data.stages.cli import main
from tests.conftest import write_clip

pytestmark = pytest.mark.slow

SIZE = {"height": 48, "width": 64}
BOTH = ExtractParameters(frames=FrameParameters(**SIZE), flow=FlowParameters(**SIZE, method="dis"))
LMDB = BOTH.model_copy(update={"format": "lmdb"})
RGB = BOTH.model_copy(update={"flow": None})
SMALLER = RGB.model_copy(update={"frames": FrameParameters(height=32, width=32)})
VIDEO = "videos/clip 03.mp4"


def remuxed(source, target, container, **options):
    """Write the video packets of `source` into another container."""
    with av.open(str(source)) as old, av.open(str(target), "w", format=container, options=options) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)


CLUSTER = []  # the address of the one that all runs of this module share: starting one takes longer than a run


@pytest.fixture(scope="module", autouse=True)
def cluster():
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    CLUSTER[:] = [cluster.address]
    yield
    cluster.shutdown()


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Six clips whose index stands in front, the last two in a stream without one."""
    root = tmp_path_factory.mktemp("loss") / "clips"
    rows = ["path,split,labels"]
    for number in range(6):
        name = f"videos/clip {number:02d}.{'ts' if number > 3 else 'mp4'}"
        write_clip(root / "plain.mp4", seed=number, num_frames=24)
        (root / "videos").mkdir(exist_ok=True)
        remuxed(root / "plain.mp4", root / name, *(["mpegts"] if number > 3 else ["mp4"]), movflags="faststart")
        rows.append(f"{name},train,left")
    (root / "plain.mp4").unlink()
    (root / "videos.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def stored(clips, tmp_path_factory):
    """Undisturbed extractions, one of each format."""
    found = {}
    for parameters in (BOTH, LMDB):
        found[parameters.format] = tmp_path_factory.mktemp("stored") / parameters.format
        run(clips, found[parameters.format], parameters)
    return found


@pytest.fixture
def folder(clips, stored, tmp_path):
    """A function that returns copies of clips and shards which a test may change."""

    def copies(shard_format="parquet"):
        return shutil.copytree(clips, tmp_path / "clips"), shutil.copytree(stored[shard_format], tmp_path / "out")

    return copies


def run(root, out, parameters=BOTH, **options):
    return run_extraction(index_dataset("folder", root), parameters, out=out, ray_address=CLUSTER[0], **options)


def everything(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def shards(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def garble(path):
    path.write_bytes(b"no video at all" * 100)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 7 // 10])


CASES = [
    (garble, VIDEO, BOTH, {}, r"gives 0 of \w+ now, 2[34] are stored \(unreadable"),
    (cut, VIDEO, BOTH, {}, r"gives [1-9]\d? of \w+ now, 2[34] are stored \(truncated"),
    (cut, "videos/clip 04.ts", BOTH, {}, r"gives [1-9]\d? of \w+ now, 2[34] are stored"),
    (garble, VIDEO, LMDB, {}, "gives 0 of"),
    (cut, VIDEO, LMDB, {}, "gives [1-9]"),
    (garble, VIDEO, RGB, {}, "gives 0 of rgb now, 24 are stored"),
    (garble, VIDEO, BOTH, {"retry_failed": True}, "gives 0 of"),
    (garble, VIDEO, SMALLER, {"replace": True}, "gives 0 of rgb"),
    (cut, VIDEO, SMALLER, {"replace": True}, "gives [1-9]"),
]


@pytest.mark.parametrize(("damage", "name", "parameters", "options", "words"), CASES)
def test_a_broken_video_does_not_take_its_stored_rows(folder, damage, name, parameters, options, words):
    root, out = folder(parameters.format)
    before = shards(out)
    damage(root / name)
    with pytest.raises(PipelineError, match=f"1 video would lose rows .* e.g. {name} {words}.*--allow-loss"):
        run(root, out, parameters, **options)
    assert shards(out) == before and len(ShardReader(out).videos) == 6
    run(root, out, parameters, allow_loss=True, **options)
    (lossy,) = [row for row in read_ledger(Storage(out)) if row.path == name and row.modality == "rgb"]
    assert lossy.num_stored < 24


def test_what_a_refused_run_made_is_not_taken_by_the_next(folder):
    root, out = folder()
    before, whole = shards(out), (root / VIDEO).read_bytes()
    garble(root / VIDEO)
    for _ in range(2):
        with pytest.raises(PipelineError, match="1 video would lose rows"):
            run(root, out, RGB)
    assert shards(out) == before
    (root / VIDEO).write_bytes(whole)
    assert run(root, out, RGB).num_shards_made == 0
    assert shards(out) == before and not (out / NEW_FOLDER).exists()


def test_a_part_that_gets_smaller_is_a_loss_and_one_that_grows_is_none(folder):
    root, out = folder()
    whole = (root / VIDEO).read_bytes()
    cut(root / VIDEO)
    run(root, out, RGB, allow_loss=True)
    before = shards(out)
    cut(root / VIDEO)
    with pytest.raises(PipelineError, match="1 video would lose rows"):
        run(root, out, RGB)
    assert shards(out) == before
    (root / VIDEO).write_bytes(whole)
    run(root, out, RGB)
    assert {row.status for row in read_ledger(Storage(out))} == {"ok"}


def test_another_whole_video_in_its_place_is_no_loss(folder):
    root, out = folder()
    write_clip(root / VIDEO, num_frames=30, seed=99)
    run(root, out, RGB)
    assert ShardReader(out).num_rows("videos/clip 03") == 30


@pytest.mark.parametrize("parameters", [BOTH, RGB])
def test_videos_that_the_list_leaves_out_stop_a_run_before_it_writes(folder, parameters):
    root, out = folder()
    listed, before = (root / "videos.csv").read_text(), everything(out)
    shorter = [line for line in listed.splitlines() if "clip 03" not in line and "clip 05" not in line]
    (root / "videos.csv").write_text("\n".join(shorter))
    with pytest.raises(InputError, match="holds 2 videos that the list leaves out now, e.g. videos/clip 03.mp4;"):
        run(root, out, parameters)
    assert everything(out) == before
    run(root, out, parameters, allow_loss=True)
    assert len(ShardReader(out).videos) == 4


def test_a_listed_video_without_rows_may_leave_the_list(folder):
    root, out = folder()
    listed = (root / "videos.csv").read_text()
    (root / "videos.csv").write_text(listed + "videos/never.mp4,train,left\n")
    run(root, out, RGB)
    (root / "videos.csv").write_text(listed)
    run(root, out, RGB)
    assert len([row for row in read_ledger(Storage(out)) if row.modality == "rgb"]) == 6


def test_a_video_that_cannot_be_read_from_a_missing_shard_either_is_known_from_the_ledger(folder):
    root, out = folder()
    row = next(row for row in read_ledger(Storage(out)) if row.path == VIDEO and row.modality == "rgb")
    shard = out / row.shard
    shard.unlink()
    garble(root / VIDEO)
    with pytest.raises(PipelineError, match=f"e.g. {VIDEO} gives 0 of rgb now, 24 are stored"):
        run(root, out, RGB)
    (root / VIDEO).unlink()
    with pytest.raises(InputError, match="1 video that is stored is not in"):
        run(root, out, RGB)


def test_what_a_given_up_replacement_left_is_not_put_among_other_shards(folder, monkeypatch):
    root, out = folder()

    def interrupted(jobs, **options):
        from tdn_data.pipeline.extraction.one_shard import extract_shard

        for job in jobs[:1]:
            extract_shard(job)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr("tdn_data.pipeline.extraction.engine.run_jobs", interrupted)
        run(root, out, SMALLER, replace=True)
    assert len(list((out / NEW_FOLDER).iterdir())) == 1
    write_clip(root / VIDEO, num_frames=30, seed=99)
    run(root, out, RGB)
    reader = ShardReader(out)
    assert {reader.read(video.video_id).data.shape[1:] for video in reader.videos} == {(48, 64, 3)}


def test_videos_count_once_however_many_modalities_lose_rows(folder):
    root, out = folder()
    garble(root / VIDEO)
    garble(root / "videos/clip 00.mp4")
    with pytest.raises(PipelineError, match="^2 videos would lose rows"):
        run(root, out)


def test_the_command_says_it_and_leaves_with_a_code(folder):
    root, out = folder()
    before = shards(out)
    garble(root / VIDEO)
    words = ["extract", "--dataset", "folder", "--root", str(root), "--out", str(out), "--size", "48x64"]
    words += ["--ray-address", CLUSTER[0]]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1 and "1 video would lose rows that are stored" in result.output
    result = CliRunner().invoke(main, [*words, "--limit", "2"])
    assert result.exit_code == 2 and "holds 4 videos that the list leaves out now" in result.output
    assert shards(out) == before
    result = CliRunner().invoke(main, [*words, "--allow-loss"])
    assert result.exit_code == 0 and shards(out) != before


def damage_pictures(folder):
    """Flip a bit in a stored picture; return its shard's name and its video."""
    row = next(row for row in read_index(Storage(folder)) if row.modality == "rgb")
    with contextlib.closing(open_shard(Storage(folder), row.shard)) as shard:
        picture = shard.read(row.entry, [7]).payloads["image"][0]
    content = bytearray((folder / row.shard).read_bytes())
    content[content.index(picture[:200]) + 150] ^= 4
    replace_file(folder / row.shard, content)
    return row.shard, row.video_id


def replace_file(path, content):
    path.unlink()  # a new file: an open map of the old one stays whole
    path.write_bytes(content)


@pytest.mark.parametrize("parameters", [BOTH, LMDB])
def test_damaged_pictures_are_noted_by_verify_and_recreated_alone(folder, parameters):
    root, out = folder(parameters.format)
    before = shards(out)
    name, video_id = damage_pictures(out)
    result = CliRunner().invoke(main, ["verify", str(out)])
    assert result.exit_code == 1 and f"{name} {video_id}: " in result.output
    assert "Run the same `tdn-data extract` as before" in result.output
    for command in ("status", "repair"):
        result = CliRunner().invoke(main, [command, str(out)])
        assert result.exit_code == 1 and f"{name}: is damaged, as `tdn-data verify` found" in result.output
    with pytest.raises(ShardError, match=f"`tdn-data verify {out}` says what puts it right"):
        ShardReader(out).read(video_id)
    summary = run(root, out, parameters)
    assert summary.num_shards_made == 1 and shards(out) == before
    assert CliRunner().invoke(main, ["status", str(out)]).exit_code == 0


def test_damage_that_is_gone_is_noted_no_more(folder):
    _, out = folder()
    before = shards(out)
    name, _ = damage_pictures(out)
    assert CliRunner().invoke(main, ["verify", str(out)]).exit_code == 1
    replace_file(out / name, before[name])
    assert CliRunner().invoke(main, ["verify", str(out)]).exit_code == 0
    assert shards(out) == before


def test_rows_beside_damaged_ones_stay_when_their_video_is_broken(folder):
    root, out = folder()
    name, video_id = damage_pictures(out)
    garble(root / next(row.path for row in read_ledger(Storage(out)) if row.video_id == video_id))
    CliRunner().invoke(main, ["verify", str(out)])
    before = shards(out)
    with pytest.raises(PipelineError, match="1 video would lose rows"):
        run(root, out, RGB)
    assert shards(out) == before


def cut_one_byte(path):
    replace_file(path, path.read_bytes()[:-1])


def empty(path):
    replace_file(path, b"")


def flip_in_the_end(path):
    content = bytearray(path.read_bytes())
    content[-300] ^= 1
    replace_file(path, content)


@pytest.mark.parametrize("damage", [cut_one_byte, empty, flip_in_the_end, Path.unlink])
@pytest.mark.parametrize("name", ["shard", "index.parquet", "ledger.parquet"])
def test_the_command_that_is_named_puts_the_damage_right(folder, damage, name):
    root, out = folder()
    before = shards(out)
    damaged = next(row.shard for row in read_index(Storage(out)) if row.modality == "rgb") if name == "shard" else name
    damage(out / damaged)
    said = [CliRunner().invoke(main, [command, str(out)]).output for command in ("status", "verify")]
    assert all(damaged in words and f"{out}: finished" not in words for words in said)
    if name == "shard":
        assert all("Run the same `tdn-data extract` as before" in words for words in said)
        assert run(root, out, RGB).num_shards_made == 1
    else:
        assert all(f"Run `tdn-data repair {out}`" in words for words in said)
        assert CliRunner().invoke(main, ["repair", str(out)]).exit_code == 0
    assert shards(out) == before
