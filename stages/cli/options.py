"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Iterable

import click

from tdn_data.stages.cli.types import Whole

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
list_split_option = click.option(
    "--list-split",
    type=Whole(1, 1000),
    help="Which of its train/test splits goes into the column `split`, where a data set has several (HMDB51, UCF101: "
    "1 to 3); all of them are read and stored  [default: 1]",
)


def given(name: str) -> bool:
    """Return whether the option with the parameter name `name` was given to the command that runs."""
    source = click.get_current_context().get_parameter_source(name)
    return source not in (None, click.core.ParameterSource.DEFAULT, click.core.ParameterSource.DEFAULT_MAP)


def refuse_idle(names: Iterable[str], why: str) -> None:
    """Raise a usage error for the first of the options `names` that was given though it would change nothing."""
    context = click.get_current_context()
    for parameter in context.command.params:
        if parameter.name in names and given(parameter.name):
            raise click.UsageError(f"{parameter.opts[0]} has no effect {why}; leave it out.", context)
