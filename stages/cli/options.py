"""Option types and options that several commands share."""

from __future__ import annotations

import re

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
list_split_option = click.option(
    "--list-split",
    type=click.IntRange(1),
    help="Which of its train/test splits goes into the column `split`, where a data set has several (HMDB51, UCF101: "
    "1 to 3); all of them are read and stored  [default: 1]",
)


class Size(click.ParamType):
    """HEIGHTxWIDTH in pixels, or the word native."""

    name = "HxW"

    def convert(self, value, param, ctx):
        """Return (height, width) or 'native'; refuse anything else with a usage message."""
        if value == "native" or isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d+)x(\d+)", value)
        if match is None:
            self.fail(f"{value!r} is no size; write HEIGHTxWIDTH, e.g. 256x256, or native.", param, ctx)
        return int(match[1]), int(match[2])


class Numbers(click.ParamType):
    """Whole numbers with commas between, e.g. 1,2."""

    name = "N,N"

    def convert(self, value, param, ctx):
        """Return a tuple of ints; refuse anything else with a usage message."""
        if isinstance(value, tuple):
            return value
        if re.fullmatch(r"\d+(,\d+)*", value) is None:
            self.fail(f"{value!r} is no list of whole numbers; write them with commas, e.g. 1,2.", param, ctx)
        return tuple(int(number) for number in value.split(","))
