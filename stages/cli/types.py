"""What an option or argument may be: every type refuses, before any work, what the commands could not use.

Numbers are finite and within bounds, files are regular files that open, folders are there, outputs can be written.
No command takes a plain `str`, `int`, `float` or `click.Path`; a test walks all of them.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import click

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import check_regular, shown_path
from tdn_data.pipeline.limits import MAX_NAME_BYTES, MAX_PATH_BYTES

MOST = 1_000_000_000  # of things to count where nothing else bounds them


class Text(click.ParamType):
    """Words that are not empty and hold no control characters."""

    name = "text"

    def convert(self, value, param, ctx):
        """Return the words; refuse none and those with control characters."""
        if not value.strip():
            self.fail("an empty word is not allowed.", param, ctx)
        if any(ord(char) < 32 or ord(char) == 127 for char in value):
            self.fail(f"'{shown_path(value)}' holds control characters.", param, ctx)
        _require_utf8(self, value, param, ctx)
        return value


class Whole(click.ParamType):
    """A whole number from `least` to `most`."""

    name = "integer"

    def __init__(self, least: int, most: int = MOST) -> None:
        self.least, self.most = least, most

    def convert(self, value, param, ctx):
        """Return an int; refuse what is none or out of bounds."""
        text = str(value).strip()
        number = int(text) if re.fullmatch(r"[+-]?[0-9]{1,19}", text) else None
        if number is None or not self.least <= number <= self.most:
            self.fail(f"'{shown_path(text)}' is no whole number from {self.least:,} to {self.most:,}.", param, ctx)
        return number


class Real(click.ParamType):
    """A finite number from `least` to `most`; with `above` the lower end itself is left out.

    Where a person counts in a `unit` of several (GiB), what comes out is the whole number of ones (bytes).
    """

    name = "number"

    def __init__(self, least: float, most: float, *, above: bool = False, unit: int = 1) -> None:
        self.least, self.most, self.above, self.unit = least, most, above, unit

    def convert(self, value, param, ctx):
        """Return a float, or an int in ones; refuse what is none, not finite or out of bounds."""
        if self.unit > 1 and isinstance(value, int):
            return value  # a default, in ones already
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not self.least <= number <= self.most or (self.above and number == self.least):
            least, most = (f"{bound:,.12g}" for bound in (self.least, self.most))
            allowed = f"above {least} and at most {most}" if self.above else f"from {least} to {most}"
            self.fail(f"'{shown_path(str(value))}' is no number {allowed}.", param, ctx)
        return round(number * self.unit) if self.unit > 1 else number


class Word(click.Choice):
    """One of a few words, in the very letters."""

    def __init__(self, *words: str) -> None:
        super().__init__(words)

    def get_invalid_choice_message(self, value, ctx):
        """Return what is said of another word."""
        return f"'{shown_path(str(value))}' is none of {', '.join(self.choices)}."


class DatasetName(click.ParamType):
    """A name of `tdn-data datasets`, of a data set of one kind."""

    name = "name"

    def __init__(self, kind: str = "videos") -> None:
        self.kind = kind

    def convert(self, value, param, ctx):
        """Return the name; refuse one that no data set has, or one of another kind."""
        from tdn_data.pipeline.datasets.registry import DATASETS, dataset_spec, require_kind

        try:
            spec = DATASETS.get(value) or dataset_spec(value, _all_data_sets())
            require_kind(spec, self.kind)
        except InputError as error:
            return self.fail(error.message, param, ctx)
        return value


def _all_data_sets() -> dict:
    from tdn_data.models.retrieval.image_sets import IMAGE_SETS  # brings torch
    from tdn_data.pipeline.datasets.registry import DATASETS

    return DATASETS | IMAGE_SETS


class InputFile(click.ParamType):
    """A regular file that can be opened; `what` says its purpose. `or_word` is a word that may stand in its place."""

    name = "file"

    def __init__(self, what: str, *, or_word: str | None = None) -> None:
        self.what, self.or_word = what, or_word

    def convert(self, value, param, ctx):
        """Return the path, or the word; refuse whatever is no regular file or may not be read."""
        if self.or_word is not None and value == self.or_word:
            return value
        try:
            return check_regular(_path(self, value, param, ctx), what=self.what)
        except InputError as error:
            return self.fail(error.message, param, ctx)


class FlowMethod(click.ParamType):
    """A flow method: one of a few words, the file of a trained network, or onnx:FILE for one in ONNX."""

    name = "method"

    def __init__(self, *words: str) -> None:
        self.words = words

    def convert(self, value, param, ctx):
        """Return the word or the file's name as text; refuse what is neither."""
        if value in self.words:
            return value
        name = value.removeprefix("onnx:")
        try:
            check_regular(_path(self, name, param, ctx), what="network")
        except InputError as error:
            words = f"'{shown_path(value)}' is none of {', '.join(self.words)}, and no network's file: {error.message}"
            return self.fail(words, param, ctx)
        return value


class InputFolder(click.ParamType):
    """A folder that is there and can be looked into."""

    name = "folder"

    def convert(self, value, param, ctx):
        """Return the path; refuse whatever is no folder or may not be read."""
        path = _path(self, value, param, ctx)
        if not os.path.isdir(path):
            what = "is not a folder" if os.path.lexists(path) else "does not exist"
            self.fail(f"{shown_path(path)} {what}.", param, ctx)
        if not os.access(path, os.R_OK | os.X_OK):
            self.fail(f"{shown_path(path)} may not be read (permission denied).", param, ctx)
        return path


class OutputFile(click.ParamType):
    """The name of a file to write, which ends in one of `suffixes` where there are any; nothing is made yet."""

    name = "file"

    def __init__(self, *suffixes: str) -> None:
        self.suffixes = suffixes

    def convert(self, value, param, ctx):
        """Return the path; refuse what is no regular file, and a place where none can be made."""
        path = _path(self, value, param, ctx)
        if os.path.lexists(path) and not os.path.isfile(path):
            what = "a folder" if os.path.isdir(path) else "a special file or a link that leads nowhere"
            self.fail(f"{shown_path(path)} is {what}; give the name of a file to write.", param, ctx)
        if self.suffixes and path.suffix.lower() not in self.suffixes:
            self.fail(f"{shown_path(path)} must end in {' or '.join(self.suffixes)}.", param, ctx)
        _require_room(self, path.parent, param, ctx)
        return path


class OutputFolder(click.ParamType):
    """A folder to write into, which is there or can be made; nothing is made yet."""

    name = "folder"

    def convert(self, value, param, ctx):
        """Return the path; refuse what is no folder, and a place where none can be made."""
        path = _path(self, value, param, ctx)
        _require_room(self, path, param, ctx)
        return path


class ShardFolder(click.ParamType):
    """A folder of shards: a local one that is there, or an address such as s3://bucket/folder."""

    name = "folder"

    def convert(self, value, param, ctx):
        """Return the folder as text; refuse a local one that is not there."""
        Text().convert(value, param, ctx)
        if "://" not in value:
            InputFolder().convert(value, param, ctx)
        return value


class ShardPath(ShardFolder):
    """A folder of shards as `ShardFolder` has it, or one shard of it."""

    name = "path"

    def convert(self, value, param, ctx):
        """Return the path as text; refuse a local one that is not there."""
        from tdn_data.pipeline.shards.schema import parse_shard_name  # brings pyarrow

        Text().convert(value, param, ctx)
        is_shard = parse_shard_name(value.rpartition("/")[2]) is not None
        return value if is_shard and os.path.isfile(value) else super().convert(value, param, ctx)


class Size(click.ParamType):
    """HEIGHTxWIDTH in pixels, or the word native."""

    name = "HxW"

    def convert(self, value, param, ctx):
        """Return (height, width) or 'native'; refuse anything else with a usage message."""
        if value == "native" or isinstance(value, tuple):
            return value
        match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", value)
        if match is None:
            self.fail(f"'{shown_path(value)}' is no size; write HEIGHTxWIDTH, e.g. 256x256, or native.", param, ctx)
        return int(match[1]), int(match[2])


class NumberList(click.ParamType):
    """Whole numbers above 0 with commas between, e.g. 1,2."""

    name = "N,N"

    def convert(self, value, param, ctx):
        """Return a tuple of ints; refuse anything else with a usage message."""
        if isinstance(value, tuple):
            return value
        if re.fullmatch(r"[1-9][0-9]{0,3}(,[1-9][0-9]{0,3}){0,15}", value) is None:
            words = "is no list of whole numbers; write them with commas, e.g. 1,2"
            self.fail(f"'{shown_path(value)}' {words}.", param, ctx)
        return tuple(int(number) for number in value.split(","))


def _require_utf8(kind: click.ParamType, text: str, param, ctx) -> None:
    """Refuse bytes that are no UTF-8: no list, shard or message could hold them."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        kind.fail(f"'{shown_path(text)}' is not UTF-8; rename it.", param, ctx)


def _path(kind: click.ParamType, value: str, param, ctx) -> Path:
    """Return a path that the system can have; refuse an empty one, NUL bytes and names that are too long."""
    text = os.fspath(value)
    if not text.strip() or "\0" in text:
        kind.fail(f"'{shown_path(text)}' names no {kind.name}.", param, ctx)
    _require_utf8(kind, text, param, ctx)
    content = os.fsencode(text)
    if len(content) >= MAX_PATH_BYTES or max(map(len, content.split(b"/"))) > MAX_NAME_BYTES:
        kind.fail(f"{shown_path(text)[:60]}... is too long for the name of a {kind.name}.", param, ctx)
    return Path(text)


def _require_room(kind: click.ParamType, folder: Path, param, ctx) -> None:
    """Refuse `folder` unless it can be written into, or made in the nearest one above it that is there."""
    address = re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", str(folder))
    if address and not os.path.lexists(folder):
        kind.fail(f"{shown_path(folder)} is an address; give a folder of this machine.", param, ctx)
    place = Path(os.path.abspath(folder))
    while not os.path.lexists(place):
        place = place.parent
    if not os.path.isdir(place):
        kind.fail(f"{shown_path(place)} is no folder; nothing can be written into it.", param, ctx)
    if not os.access(place, os.W_OK | os.X_OK):
        kind.fail(f"{shown_path(place)} may not be written into (permission denied or read-only).", param, ctx)
