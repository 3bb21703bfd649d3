"""The program as the system sees it: its output, its encoding, its exit code."""

import csv
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import av
import numpy as np
import pytest

PROJECT = Path(__file__).resolve().parents[2]
PROGRAM = [sys.executable, "-c", "import sys; sys.argv[0] = 'tdn-data'; from tdn_data.stages.start import main; main()"]


def run(*words, stdout=subprocess.PIPE, **environment):
    """Run the program in a process of its own; return its exit code, stdout and stderr."""
    environment = {**os.environ, **environment}
    ended = subprocess.run(
        [*PROGRAM, *map(str, words)], stdout=stdout, stderr=subprocess.PIPE, env=environment, timeout=120
    )
    return ended.returncode, (ended.stdout or b"").decode(), ended.stderr.decode()


@pytest.mark.parametrize("words", [["datasets"], ["datasets", "--json"], ["--help"]], ids=" ".join)
def test_output_that_cannot_be_written_is_one_sentence(words):
    with open("/dev/full", "wb") as full:
        code, _, stderr = run(*words, stdout=full, PYTHONUNBUFFERED="")
    assert code == 1 and stderr.startswith("error: ") and stderr.count("\n") == 1, stderr
    assert "cannot be written (no space left on device)" in stderr


def test_names_in_any_script_are_read_and_printed_where_the_system_has_no_encoding_for_them(clip_folder, tmp_path):
    root = tmp_path / "ü"
    (root / "v").mkdir(parents=True)
    shutil.copy(clip_folder / "videos/clip 00.mp4", root / "v/ä ö.mp4")
    (root / "videos.csv").write_text("path,split,labels\nv/ä ö.mp4,train,é\nv/ß.mp4,train,é\n", encoding="utf-8")
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    code, stdout, stderr = run("index", "--dataset", "folder", "--root", root, "--out", tmp_path / "m.parquet", **plain)
    assert code == 0 and "Traceback" not in stderr, stderr
    assert "'v/ß.mp4' is not there" in stdout and "2 videos (2 train); problems: 1 missing" in " ".join(stdout.split())


def test_no_command_prints_what_a_name_holds_to_control_the_terminal(clip_folder, tmp_path):
    root, out = tmp_path / "hostile", tmp_path / "out"
    root.mkdir()
    shutil.copy(clip_folder / "videos/clip 00.mp4", root / "a\x1b[2J.mp4")
    (root / "b\x1b[31m\nc.mp4").write_bytes(b"no video")
    rows = [
        ["path", "split", "labels"],
        ["a\x1b[2J.mp4", "train", "x\x1b]0;t\x07"],
        ["b\x1b[31m\nc.mp4", "train", "\x9by"],
    ]
    with (root / "videos.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    dataset = ["--dataset", "folder", "--root", root]
    said = run("index", *dataset, "--out", tmp_path / "m.parquet")
    said += run("extract", *dataset, "--out", out, "--workers", 1, "--fail-above", 1)
    for command in (["status", out], ["verify", out], ["inspect", out, "--sheet", tmp_path / "s[b]\x1b.png"]):
        said += run(*command)
    text = "".join(part for part in said if isinstance(part, str))
    assert text.replace("\n", "").isprintable() and "Traceback" not in text, text
    assert "b\\x1b[31m\\nc.mp4" in text and "sheet: " in text and "s[b]\\x1b.png" in text


STOPPED_WHILE = """
import os, signal, sys

class Stop:
    def find_spec(name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Stop)
sys.argv = ["tdn-data", "datasets"]
from tdn_data.stages.start import main
main()
"""


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("signal", "stopped before anything was done."),
        ("click", "stopped before anything was done."),
        ("rich.console", "stopped before anything was done."),
        ("tdn_data.stages.cli.data", "stopped; what is finished stays; give the same command again for the rest."),
    ],
)
def test_ctrl_c_while_the_program_is_still_being_imported_is_one_line(module, words):
    script = STOPPED_WHILE.format(module=module)
    if module == "signal":  # Python itself may have imported it
        script = script.replace("import os, signal, sys", "import os, sys; import signal; del sys.modules['signal']")
    environment = dict(os.environ)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=120)
    assert (ended.returncode, ended.stdout) == (130, "")
    assert ended.stderr.lstrip("\n") == f"error: {words}\n"  # click ends the line that begins with ^C


def test_the_installed_program_imports_nothing_before_it_can_answer():
    script = (
        "import sys; before = set(sys.modules); import tdn_data.stages.start; print(*sorted(set(sys.modules) - before))"
    )
    environment = dict(os.environ)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert set(ended.stdout.split()) <= {"__future__", "tdn_data", "tdn_data.stages", "tdn_data.stages.start"}
    scripts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"tdn-data": "tdn_data.stages.start:main"}


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_said_with_the_file_that_standard_output_goes_to(
    on_a_small_disk, tmp_path, monkeypatch, unbuffered
):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    script = f"""
import subprocess, sys
out = open({str(tmp_path / "sets.json")!r}, "wb")
words = [sys.executable, "-c", {PROGRAM[2]!r}, "datasets", "--json"]
ended = subprocess.run(words, stdout=out, stderr=subprocess.PIPE, text=True)
print(ended.stderr, ended.returncode)
"""
    said = on_a_small_disk(tmp_path, 8 << 10, script)
    assert said.startswith(f"error: standard output ({tmp_path / 'sets.json'}) cannot be written (no space left"), said
    assert said.endswith(" 1\n")


def test_a_hint_at_another_option_ends_as_a_question():
    assert run("datasets", "--jsn")[2] == (
        "error: No such option '--jsn'. Did you mean '--json'? See 'tdn-data datasets -h'.\n"
    )


def test_the_bounds_of_a_number_are_written_as_people_write_them(tmp_path):
    stderr = run("extract", "--dataset", "demo", "--root", tmp_path, "--out", "x", "--memory-limit", "0.001")[2]
    assert "'0.001' is no number from 0.25 to 1,048,576." in stderr


def test_a_cut_file_that_says_nowhere_how_long_it_was_is_partial_without_a_count(tmp_path):
    root = tmp_path / "cut"
    root.mkdir()
    with av.open(str(root / "a.gif"), "w") as container:
        stream = container.add_stream("gif", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "rgb8"
        for level in range(20):
            picture = np.full((24, 32, 3), 12 * level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    content = (root / "a.gif").read_bytes()
    (root / "a.gif").write_bytes(content[: len(content) // 2])
    (root / "videos.csv").write_text("path,split,labels\na.gif,train,x\n")
    dataset = ("--dataset", "folder", "--root", root)
    _, stdout, _ = run("extract", *dataset, "--out", tmp_path / "out", "--workers", 1, "--fail-above", 1)
    line = next(line for line in stdout.splitlines() if "a.gif" in line)
    assert re.search(r"partial rgb  a.gif  truncated, (\d+) stored: \1 frames, the file is cut off; how many", line), (
        line
    )


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("tdn-data ins", ["inspect"]),
        ("tdn-data inspect --sh", ["--sheet", "--sheet-videos"]),
        ("tdn-data bench de", ["decode"]),
    ],
)
def test_the_shell_completes_commands_and_options(typed, found):
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")), "_TDN_DATA_COMPLETE": "bash_complete"}
    code, stdout, stderr = run(**words)
    assert code == 0 and not stderr, stderr
    assert [line.partition(",")[2] for line in stdout.splitlines()] == found


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_lines_of_the_manual_give_each_shell_its_completion(shell):
    line = f"_TDN_DATA_COMPLETE={shell}_source tdn-data"
    assert line in (PROJECT / "docs/INSTALLATION.md").read_text()
    code, stdout, _ = run(_TDN_DATA_COMPLETE=f"{shell}_source")
    assert code == 0 and "tdn-data" in stdout and "_TDN_DATA_COMPLETE" in stdout
