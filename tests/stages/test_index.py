import json
import shutil

import pytest
from click.testing import CliRunner

from tdn_data.pipeline.datasets.manifest import read_manifest
from tdn_data.stages.cli import main


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_index_lists_what_is_missing_and_still_writes_the_manifest(clip_folder, tmp_path):
    result = run("index", "--dataset", "folder", "--root", clip_folder, "--out", tmp_path / "m.parquet", "--json")
    assert result.exit_code == 0
    record = json.loads(result.stdout)
    assert record["num_videos"] == 12 and record["problems"] == {"unreadable": 1, "missing": 1}
    assert record["findings_by_kind"] == {"missing_file": 1}
    assert (record["findings"][0]["path"], record["findings"][0]["line"]) == ("videos/missing.mp4", 13)
    assert len(read_manifest(tmp_path / "m.parquet")) == 12


def test_rows_that_contradict_each_other_stop_the_index(clip_folder_copy, tmp_path):
    with (clip_folder_copy / "videos.csv").open("a") as file:
        file.writelines(f"videos/clip {number:02d}.mp4,valid,left\n" for number in range(10))
        file.writelines(f"videos/new {number}.mp4,train,up\n" for number in range(20))
    arguments = ("index", "--dataset", "folder", "--root", clip_folder_copy, "--out", tmp_path / "m.parquet")
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout.count("│ in_two_splits") == 5 and "and 5 more in_two_splits" in result.stdout
    assert "findings: 20 label_out_of_range, 10 in_two_splits, 21 missing_file (--json has all)" in result.stdout
    assert f"{clip_folder_copy}/" not in result.stdout
    assert "30 rows of folder's lists cannot stand; no manifest was written" in result.stderr
    assert not (tmp_path / "m.parquet").exists()
    assert len(json.loads(run(*arguments, "--json").stdout)["findings"]) == 10 + 20 + 21


def test_where_no_listed_file_is_there_the_layout_is_shown(tmp_path):
    (tmp_path / "act.csv").write_text("path,split,class\na.avi,train,x\nb.avi,test,x\n")
    arguments = ("index", "--dataset", "act", "--root", tmp_path, "--out", tmp_path / "m.parquet")
    words = run(*arguments).stdout
    assert "not one of the 2 listed files is there; the folder must look like this: ROOT/act.csv" in words
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/a.avi").touch()
    assert "not one of the" not in run(*arguments).stdout


def test_the_list_split_reaches_the_reader(tmp_path):
    for name in ("splits", "videos"):
        (tmp_path / name).mkdir()
    (tmp_path / "splits/wave_test_split1.txt").write_text("a.avi 1\n")
    (tmp_path / "splits/wave_test_split3.txt").write_text("a.avi 2\n")
    arguments = ("index", "--dataset", "hmdb51", "--root", tmp_path, "--out", tmp_path / "m.parquet")
    assert run(*arguments).exit_code == 0
    assert read_manifest(tmp_path / "m.parquet").splits() == {"train": 1}
    assert run(*arguments, "--list-split", 3).exit_code == 0
    assert read_manifest(tmp_path / "m.parquet").splits() == {"test": 1}
    assert "hmdb51 allows 1 to 3" in run(*arguments, "--list-split", 4).stderr


def test_datasets_lists_every_set_with_its_folder_and_where_to_get_it():
    text = run("datasets").stdout
    records = {record["name"]: record for record in json.loads(run("datasets", "--json").stdout)}
    assert not any(str(value).startswith("<") for record in records.values() for value in record.values())
    assert len(records) == 18
    for name, record in records.items():
        assert f"{name}: " in text
        assert record["source"] and "ROOT" in record["layout"] and record["used_by"]


@pytest.mark.parametrize("name", ["holidays", "oxford5k", "paris6k", "sintel", "something-v1"])
def test_sets_that_hold_no_video_files_say_whom_they_serve(name, tmp_path):
    records = {record["name"]: record for record in json.loads(run("datasets", "--json").stdout)}
    result = run("index", "--dataset", name, "--root", tmp_path, "--out", tmp_path / "m.parquet")
    kind, used_by = records[name]["kind"], records[name]["used_by"]
    assert result.exit_code == 2
    assert f"{name} is a data set of {kind}, not of video files; it serves {used_by}." in result.stderr


def test_a_folder_without_a_list_gets_words_on_what_to_write_and_gets_one_of_its_class_folders(clip_folder, tmp_path):
    root = tmp_path / "mine"
    for name in ("left", "right"):
        shutil.copytree(clip_folder / "videos", root / name, ignore=shutil.ignore_patterns("garbage*"))
    arguments = ("index", "--dataset", "folder", "--root", root, "--out", tmp_path / "m.parquet")
    said = " ".join(run(*arguments).stderr.split())
    assert f"{root}/videos.csv is missing. It is a CSV file whose first line is `path,split,labels`" in said
    offered = said[said.index("tdn-data index --dataset folder") :].split()[1:]
    result = run(*offered[:-1], tmp_path / "m.parquet")
    assert result.exit_code == 0, result.stderr
    manifest = read_manifest(tmp_path / "m.parquet")
    assert len(manifest) == 20 and manifest.class_names == ("left", "right")
    assert set(manifest.splits()) == {"train", "val", "test"}
    assert "is there already" in run(*arguments, "--from-folders").stderr
    assert "--val has no effect without --from-folders" in run(*arguments, "--val", 0.1).stderr
