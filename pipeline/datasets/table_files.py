"""CSV tables and JSON lists, each row with the number of its line."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tdn_data.pipeline.datasets.base import read_lines
from tdn_data.pipeline.errors import InputError

_BLANKS = re.compile(r"\s*")


def read_csv(
    path: Path, columns: Iterable[str], *, may_be_blank: Iterable[str] = (), verbatim: Iterable[str] = ()
) -> list[tuple[int, dict[str, str]]]:
    """Return (line number, row) for each row of a CSV file whose first line names its columns; values are stripped.

    Blanks at the ends of values in the columns `verbatim` stay. Further columns are ignored. Raises InputError for a
    column that is missing or there twice, for quotes that do not close, for a row with more values than there are
    columns, and for one without a value in one of `columns`, those in `may_be_blank` excepted: there an empty value is
    allowed, a row that ends before it is not.
    """
    columns, may_be_blank, verbatim = tuple(columns), tuple(may_be_blank), tuple(verbatim)
    reader = csv.DictReader((f"{line}\n" for line in read_lines(path)), strict=True)
    rows, last = [], 0
    try:
        reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
        _check_columns(path, reader.fieldnames, columns)
        for row in reader:
            last = reader.line_num
            values = _values(path, reader, row, columns, may_be_blank)
            rows.append((last, values | {name: row[name] for name in verbatim}))
    except csv.Error as error:
        raise InputError(
            f"{path}: the row that begins in line {max(last, 1) + 1} is no valid CSV ({error}).", path=path
        ) from error
    return rows


def _check_columns(path: Path, names: Sequence[str], columns: Sequence[str]) -> None:
    """Raise InputError unless each of `columns` is once among the `names` of a table's first line."""
    for name in columns:
        if names.count(name) != 1:
            what = "no column" if name not in names else "more than one column"
            raise InputError(
                f"{path} has {what} {name!r}; its first line must name the columns {', '.join(columns)}, "
                "with commas between.",
                path=path,
            )


def _values(
    path: Path,
    reader: csv.DictReader,
    row: Mapping[str | None, str | list[str] | None],
    columns: Sequence[str],
    may_be_blank: Sequence[str],
) -> dict[str, str]:
    """Return a row's values in `columns`; raise InputError where there is none, and for values beyond the columns."""
    beyond = [value for value in row.get(None, ()) if value.strip()]
    if beyond:
        raise InputError(
            f"{path}, line {reader.line_num}: {beyond[0].strip()!r} stands beyond the last column "
            f"{reader.fieldnames[-1]!r}; a value with a comma in it is written in double quotes.",
            path=path,
        )
    values = {name: None if row[name] is None else row[name].strip() for name in columns}
    empty = [name for name in columns if values[name] is None or not (values[name] or name in may_be_blank)]
    if empty:
        raise InputError(f"{path}, line {reader.line_num}: no {empty[0]}.", path=path)
    return values


def read_json_list(path: Path, keys: Iterable[str]) -> list[tuple[int, dict[str, object]]]:
    """Return (line number, record) for each record of a JSON file that holds one list of objects.

    Raises InputError, with the line, for text that is no such list and for a record without one of `keys`.
    """
    keys = tuple(keys)
    text = "\n".join(read_lines(path))
    rows, line, counted = [], 1, 0
    for start, record in _json_objects(text, path):
        line, counted = line + text.count("\n", counted, start), start
        missing = [key for key in keys if not isinstance(record, dict) or key not in record]
        if missing:
            raise InputError(f"{path}, line {line}: expected a record with {missing[0]!r}.", path=path)
        rows.append((line, record))
    return rows


def read_json_table(path: Path) -> dict[str, object]:
    """Return the JSON object that a file holds; raise InputError for anything else."""
    text = "\n".join(read_lines(path))
    try:
        table = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _json_fault(path, error) from error
    if not isinstance(table, dict):
        raise InputError(f"{path}, line 1: expected a JSON object, found {text[:20]!r}.", path=path)
    return table


def _json_fault(path: Path, error: Exception) -> InputError:
    """Return what is to be said of text that is no JSON: its line where that is known."""
    if isinstance(error, json.JSONDecodeError):
        return InputError(f"{path}, line {error.lineno}: no valid JSON ({error.msg}).", path=path)
    return InputError(f"{path}: no valid JSON ({error}).", path=path)


def _json_objects(text: str, path: Path) -> Iterator[tuple[int, object]]:
    """Yield (offset, value) for each value of the list that `text` is."""
    decoder = json.JSONDecoder()
    position, opening = _BLANKS.match(text).end(), "["
    while text.startswith(opening, position):
        position = _BLANKS.match(text, position + 1).end()
        if opening == "[" and text.startswith("]", position):
            break
        try:
            value, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            raise _json_fault(path, error) from error
        yield position, value
        position, opening = _BLANKS.match(text, end).end(), ","
    if not text.startswith("]", position):
        line = 1 + text.count("\n", 0, position)
        raise InputError(
            f"{path}, line {line}: expected a JSON list, found {text[position : position + 20]!r}.", path=path
        )
