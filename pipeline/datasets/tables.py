"""CSV tables and JSON lists, each row with the number of its line."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.datasets.base import read_lines
from pipeline.errors import InputError

_BLANKS = re.compile(r"\s*")


def read_csv(
    path: Path, columns: Iterable[str], *, may_be_blank: Iterable[str] = ()
) -> list[tuple[int, dict[str, str]]]:
    """Return (line number, row) for each row of a CSV file whose first line names its columns; values are stripped.

    Further columns are ignored. Raises InputError for a column that is missing and for a row without a value in one of
    `columns`, those in `may_be_blank` excepted: there an empty value is allowed, a row that ends before it is not.
    """
    columns = tuple(columns)
    reader = csv.DictReader(f"{line}\n" for line in read_lines(path))
    reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
    for name in columns:
        if name not in reader.fieldnames:
            raise InputError(
                f"{path} has no column {name!r}; its first line must name the columns {', '.join(columns)}.", path=path
            )
    rows = []
    for row in reader:
        values = {name: None if row[name] is None else row[name].strip() for name in columns}
        empty = [name for name in columns if values[name] is None or not (values[name] or name in may_be_blank)]
        if empty:
            raise InputError(f"{path}, line {reader.line_num}: no {empty[0]}.", path=path)
        rows.append((reader.line_num, values))
    return rows


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
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: no valid JSON ({error.msg}).", path=path) from error
    if not isinstance(table, dict):
        raise InputError(f"{path}, line 1: expected a JSON object, found {text[:20]!r}.", path=path)
    return table


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
        except json.JSONDecodeError as error:
            raise InputError(f"{path}, line {error.lineno}: no valid JSON ({error.msg}).", path=path) from error
        yield position, value
        position, opening = _BLANKS.match(text, end).end(), ","
    if not text.startswith("]", position):
        line = 1 + text.count("\n", 0, position)
        raise InputError(
            f"{path}, line {line}: expected a JSON list, found {text[position : position + 20]!r}.", path=path
        )
