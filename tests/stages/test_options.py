"""Every option and argument of every command, with values that nobody should give."""

import importlib
import os
import socket
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tdn_data.stages.cli import MODULES, main, types

WORDS = ("", " ", "\0", "nan\0", "x\ny", "\udcff")
NUMBERS = ("", "nan", "-1", "abc", "1" + 20 * "0", "1e999", "inf", "-inf", "\0", "0x10", "\udcff", "9" * 5000)
CHOICES = ("", "\0", "nan", "x" * 300, "\udcff", "-1")
NO_FILES = (
    "",
    "\0",
    "missing",
    "folder",
    "fifo",
    "socket",
    "file/below",
    "x" * 300,
    "x/" * 3000,
    "/dev/null",
    "\udcff",
)
NO_FOLDERS = ("", "\0", "missing", "file", "fifo", "file/below", "x" * 300, "/dev/null", "\udcff")
HOSTILE = {
    types.Text: WORDS,
    types.Whole: (*NUMBERS, "1.5"),
    types.Real: NUMBERS,
    types.Word: CHOICES,
    types.DatasetName: CHOICES,
    types.InputFile: NO_FILES,
    types.InputFolder: NO_FOLDERS,
    types.FlowMethod: (*CHOICES, *NO_FILES, "onnx:", "onnx:missing", "onnx:folder"),
    types.OutputFile: ("", "\0", "folder", "fifo", "socket", "file/below.png", "x" * 300, "/dev/null", "\udcff"),
    types.OutputFolder: ("", "\0", "file", "fifo", "socket", "file/below", "x" * 300, "/dev/null", "\udcff"),
    types.ShardFolder: NO_FOLDERS,
    types.ShardPath: NO_FOLDERS,
    types.Size: ("", "12", "nanxnan", "-1x2", "1" * 20 + "x1", "\0", "axb"),
    types.NumberList: ("", "0", "-1", "nan", "1,", "1;2", "1" * 20, "\0", ",".join("1" * 99)),
}


def commands(group=main, path=()):
    """Yield (words of the command line, command) for every command of the tree."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


PARAMETERS = {
    f"{'-'.join(words)}-{parameter.name}": (words, command, parameter)
    for words, command in commands()
    for parameter in command.params
    if not getattr(parameter, "is_flag", False)
}


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A folder to stand in, with a file, a folder, a FIFO and a socket."""
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("text")
    Path("folder").mkdir()
    os.mkfifo("fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        yield tmp_path


def parts(parameter):
    """Return the types of a parameter's values, one for each word that it takes."""
    return parameter.type.types if isinstance(parameter.type, click.Tuple) else [parameter.type]


def given(parameter, command, values):
    """Return the words of a command line that give `values` to a parameter, arguments before it being a file."""
    if isinstance(parameter, click.Option):
        return [parameter.opts[0], *values]
    arguments = [one for one in command.params if isinstance(one, click.Argument)]
    return ["--", *["file"] * arguments.index(parameter), *values]


def shown_name(parameter):
    return parameter.opts[0] if isinstance(parameter, click.Option) else parameter.name.upper()


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_value_that_no_command_could_use_is_refused_in_one_sentence_before_any_work(name, places):
    words, command, parameter = PARAMETERS[name]
    assert {type(part) for part in parts(parameter)} <= set(HOSTILE), (
        f"{name} takes {parameter.type}; see tdn_data.stages.cli.types"
    )
    before = sorted(os.listdir("."))
    for place, part in enumerate(parts(parameter)):
        for value in HOSTILE[type(part)]:
            values = ["holidays"] * place + [value] + ["."] * (len(parts(parameter)) - place - 1)
            result = CliRunner().invoke(main, [*words, *given(parameter, command, values)])
            assert isinstance(result.exception, SystemExit) and result.exit_code == 2, (value, result.exc_info)
            said = result.stderr
            assert said.startswith("error: Invalid value for") and said.count("\n") == 1 and not result.stdout, said
            assert shown_name(parameter) in said
    assert sorted(os.listdir(".")) == before


@pytest.mark.parametrize("words", [words for words, _ in commands()], ids="-".join)
def test_an_unknown_option_and_help_are_answered_by_every_command(words):
    result = CliRunner().invoke(main, [*words, "--no-such-option"])
    assert result.exit_code == 2 and result.stderr.startswith("error: No such option")
    assert CliRunner().invoke(main, [*words, "-h"]).exit_code == 0


def test_every_command_that_is_written_is_in_the_table():
    for path in sorted(Path(types.__file__).parent.glob("*.py")):
        module = importlib.import_module(f"tdn_data.stages.cli.{path.stem}") if path.stem != "__init__" else main
        for command in getattr(module, "COMMANDS", ()):
            assert MODULES.get(command.name) == path.stem
