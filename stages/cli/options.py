"""Options that several commands share, and options that are made of a parameter's own type, bounds and default."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, get_args, get_origin

import annotated_types
import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tdn_data.stages.cli.types import MOST, NumberList, Real, Whole, Word

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
list_split_option = click.option(
    "--list-split",
    type=Whole(1, 1000),
    help="Which of its train/test splits goes into the column `split`, where a data set has several (HMDB51, UCF101: "
    "1 to 3); all of them are read and stored  [default: 1]",
)


def field_option(
    flag: str,
    section: type[BaseModel],
    field: str,
    *,
    unit: int = 1,
    by_dataset: bool = False,
    zero_is_none: bool = False,
    help: str | None = None,
) -> Callable[[Callable], Callable]:
    """Return the option `flag` that sets a parameter, with that parameter's type, bounds and default.

    A person gives the value in `unit`s, e.g. GiB, and it arrives in the parameter's own. `by_dataset`: what is not
    given is None, and the data set decides. `zero_is_none`: a person writes 0 where the parameter takes None.
    """
    info = section.model_fields[field]
    shown = "the data set's" if by_dataset else None
    if info.default is not None and not by_dataset:
        shown = _shown(info.default, unit)
    words = " ".join(filter(None, (help, f"[default: {shown}]" if shown else None)))
    default = None if by_dataset else info.default
    kind = _option_type(info, unit)
    if zero_is_none:
        kind = Whole(0, kind.most)
    return click.option(
        flag,
        field,
        type=kind,
        default=default,
        help=words,
        callback=(lambda context, option, value: value or None) if zero_is_none else None,
    )


def _shown(default: object, unit: int) -> str:
    """Return a default as a person gives it."""
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return f"{default / unit:.12g}" if isinstance(default, (int, float)) else str(default)


def _option_type(info: FieldInfo, unit: int) -> click.ParamType:
    """Return what the command line takes for a field; the field's bounds hold for it."""
    if get_origin(info.annotation) is tuple:
        return NumberList()
    kinds = [kind for kind in get_args(info.annotation) or (info.annotation,) if kind is not type(None)]
    if get_origin(info.annotation) is Literal:
        return Word(*kinds)
    bounds = {type(bound): bound for bound in info.metadata}
    above = annotated_types.Gt in bounds
    least = bounds[annotated_types.Gt].gt if above else bounds[annotated_types.Ge].ge
    most = bounds[annotated_types.Le].le if annotated_types.Le in bounds else MOST
    if unit == 1 and kinds == [int]:
        return Whole(least, most)
    return Real(least / unit, most / unit, above=above, unit=unit)


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
