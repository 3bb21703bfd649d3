"""Pages of the documentation that are made when it is built: the README, commands from click, Python from docstrings.

A hook of MkDocs (`mkdocs.yml`): texts at the top of the project become pages beside those of docs/, with their links
turned; what they link to that is no page (recipes, the licence) is shown as its path.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import click
import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from tdn_data.stages.cli import main

PROJECT = Path(__file__).resolve().parents[1]
TEXTS = {  # page of the site -> text of the project
    "index.md": "README.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "RESULTS.md": "benchmarks/RESULTS.md",
}
PYTHON = {  # what a reader may build on -> the heading above it
    "tdn_data.pipeline.video": "Video",
    "tdn_data.pipeline.flow": "Optical flow",
    "tdn_data.pipeline.shards.reader": "Reading shards",
    "tdn_data.models.networks": "Networks",
    "tdn_data.models.networks.base": "What every network is",
    "tdn_data.models.backbones": "Backbones",
    "tdn_data.models.weights.checkpoint": "Weights",
    "tdn_data.models.clips.dataset": "Clips",
    "tdn_data.models.evaluation.predict": "Predicting",
    "tdn_data.pipeline.errors": "Errors",
}
SOURCE = PROJECT / "site-source/tdn_data"  # the folders under the name that they are installed under


def on_startup(command: str, dirty: bool) -> None:
    """Show the project's folders as the package `tdn_data`; docstrings are looked for there from `on_config` on."""
    SOURCE.mkdir(parents=True, exist_ok=True)
    for name in ("pipeline", "models", "stages", "benchmarks"):
        link = SOURCE / name
        link.unlink(missing_ok=True)
        link.symlink_to(PROJECT / name)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that stand elsewhere, and those made from code."""
    pages = {page: (PROJECT / text).read_text() for page, text in TEXTS.items()}
    pages |= {"commands.md": commands_page(), "python.md": python_page()}
    for page, text in pages.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between the project's files into links between pages."""
    base = Path(TEXTS.get(page.file.src_uri, f"docs/{page.file.src_uri}")).parent

    def turned(match: re.Match) -> str:
        words, target, anchor = match[1], match[2], match[3] or ""
        path = (PROJECT / base / target).resolve().relative_to(PROJECT).as_posix()
        place = {text: name for name, text in TEXTS.items()}.get(path, path.removeprefix("docs/"))
        if files.get_file_from_path(place) is not None:
            return f"[{words}]({place}{anchor})"
        if not (PROJECT / path).exists():
            return match[0]  # which MkDocs complains of
        return f"{words} (`{path}`)" if words != path else f"`{path}`"

    return re.sub(r"\[([^\]]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)", turned, markdown)


def commands_page() -> str:
    """Return the reference of the command line as Markdown: each command's help, usage and options."""
    context = click.Context(main, info_name="tdn-data")
    parts = [
        "# Command line\n",
        "Every command that reports has `--json`. Exit codes: 0 done, 1 done but too much failed,",
    ]
    parts.append("2 wrong usage or input, 130 stopped by Ctrl-C.\n")
    for name in main.list_commands(context):
        parts.append(_command(main.get_command(context, name), context, f"tdn-data {name}"))
    return "\n".join(parts)


def _command(command: click.Command, parent: click.Context, name: str) -> str:
    context = click.Context(command, info_name=name.rpartition(" ")[2], parent=parent)
    if isinstance(command, click.Group):
        below = (
            _command(command.get_command(context, one), context, f"{name} {one}")
            for one in command.list_commands(context)
        )
        return "\n".join([f"## {name}\n", _help(command), *below])
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    rows = [record for parameter in command.params if (record := parameter.get_help_record(context))]
    cells = [f"| `{option}` | {words.replace('|', '/')} |" for option, words in rows]
    table = ["| option | what it does |", "|---|---|", *cells] if cells else []
    return "\n".join([f"## {name}\n", "```", usage, "```\n", _help(command), *table, ""])


def _help(command: click.Command) -> str:
    """Return a command's help as Markdown, its examples as blocks of code."""
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    shown = []
    for words in paragraphs:
        left, _, kept = words.partition("\b\n")
        title, _, code = kept.partition(":")
        shown.append(f"{title}:\n\n```\n{inspect.cleandoc(code)}\n```\n" if kept else f"{left}\n")
    return "\n".join(shown)


def python_page() -> str:
    """Return the reference of the public modules, for mkdocstrings to fill."""
    parts = ["# Python\n", "What other programs can build on; everything else may change without notice.\n"]
    parts += [f"## {heading}\n\n`{module}`\n\n::: {module}\n" for module, heading in PYTHON.items()]
    return "\n".join(parts)


class Doctests(griffe.Extension):
    """Shows the examples of docstrings as code."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Fence each run of lines that begins with >>>, in a section or not, and ends with an empty line."""
        if obj.docstring is not None:
            fenced = r"\1```pycon\n\g<0>\n\1```"
            obj.docstring.value = re.sub(
                r"^( *)>>> .*?(?=\n\n|\Z)", fenced, obj.docstring.value.rstrip(), flags=re.S | re.M
            )
