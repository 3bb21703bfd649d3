"""Option types and options that several commands share."""

from __future__ import annotations

import re

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


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
