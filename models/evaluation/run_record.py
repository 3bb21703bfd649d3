"""What a run was: its network, data, parameters, date, machine and library versions, kept beside its results.

`training.json` is written when a training ends, `evaluation.json` when a test or a fusion does. A page or a table that
shows several runs says of each what its own record says, not what params.yaml says now.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from tdn_data.models.library_versions import deciding_versions
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import read_json, write_json
from tdn_data.pipeline.machine import processor
from tdn_data.pipeline.text import some_of

TRAINING, EVALUATION = "training.json", "evaluation.json"
FUSION = "fusion"
SAME_TEST = ("dataset", "class_names", "multi_label", "split", "list_split")  # of runs whose scores are put together


@dataclass(frozen=True)
class RunRecord:
    """One training, test or fusion; `seconds` is how long it took. A fusion's network and modality are `fusion`."""

    name: str  # of the run in params.yaml, and of its folder
    network: str
    modality: str
    dataset: str
    class_names: tuple[str, ...]
    multi_label: bool
    split: str
    list_split: int | None
    parameters: Mapping[str, object]
    date: str  # of its end, UTC, ISO 8601
    seconds: float
    hardware: str
    libraries: Mapping[str, str]

    def words(self, *, parameters: bool = True) -> str:
        """Return the record as one line for a page, with or without its parameters."""
        libraries = ", ".join(f"{name} {version}" for name, version in self.libraries.items())
        chosen = self.parameters if parameters else {}
        shown = ", ".join(f"{name} {value}" for name, value in chosen.items() if value is not None)
        took = f"{self.seconds:.0f} s" if self.seconds < 600 else f"{self.seconds / 60:.0f} min"
        return "; ".join(
            filter(None, (f"{self.date[:10]}, {took} on {self.hardware}", libraries, f"split {self.split}", shown))
        )


def describe_run(started: datetime, **facts: object) -> RunRecord:
    """Return the record of what began at `started` (UTC) and ends now, on this machine, with this installation."""
    now = datetime.now(UTC)
    return RunRecord(
        date=now.isoformat(timespec="seconds"),
        seconds=round((now - started).total_seconds(), 1),
        hardware=hardware(),
        libraries=deciding_versions(),
        **facts,
    )


def describe_fusion(started: datetime, name: str, one: RunRecord, parameters: Mapping[str, object]) -> RunRecord:
    """Return the record of a fusion that began at `started`, of runs with the same test as the run `one`."""
    same = {key: getattr(one, key) for key in SAME_TEST}
    return describe_run(started, name=name, network=FUSION, modality=FUSION, parameters=parameters, **same)


def hardware() -> str:
    """Return the processor's and the GPU's names, e.g. `AMD EPYC 9R14, 2 cores`."""
    import torch

    words = f"{processor()}, {os.cpu_count()} cores"
    return f"{words}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else words


def write_record(path: Path, record: RunRecord) -> None:
    """Write a record as JSON, the whole file or none."""
    write_json(path, asdict(record))


def read_record(path: Path) -> RunRecord:
    """Read a record; raise InputError where the file is missing, damaged or none."""
    content = read_json(path, what="run's record")
    names = {field.name for field in fields(RunRecord)}
    try:
        if not isinstance(content, dict) or content.keys() != names:
            raise TypeError("names")
        return TypeAdapter(RunRecord).validate_python(content)
    except (TypeError, ValidationError) as error:
        raise InputError(f"{path} is no record of a run; run its stage again.", path=path) from error


def check_same_test(first: RunRecord, second: RunRecord, names: Sequence[str] | None = None) -> RunRecord:
    """Return `first`; raise InputError with what differs and what to do where scores of two runs are of two tests.

    `names` are what the runs are called in the sentence, by default as their records do.
    """
    for key in SAME_TEST:
        one, other = getattr(first, key), getattr(second, key)
        if one != other:
            raise InputError(_difference(key, names or (first.name, second.name), (one, other)), key=key)
    return first


def check_same_tests(records: Mapping[str, RunRecord]) -> RunRecord:
    """Return the first of the records of several runs, by their names; InputError as `check_same_test`."""
    (first, record), *others = records.items()
    for name, other in others:
        check_same_test(record, other, (first, name))
    return record


def _difference(key: str, names: Sequence[str], values: Sequence) -> str:
    """Return in what the tests of two runs differ, and the way out."""
    first, second = names
    one, other = values
    if key == "class_names":
        sides = zip(names, (one, other), (other, one), strict=True)
        own = [(name, [word for word in mine if word not in its]) for name, mine, its in sides]
        words = "; ".join(f"only {name} has {some_of(only)}" for name, only in own if only)
        return (
            f"{first} and {second} know different classes ({words or 'the same in another order'}); train and evaluate "
            "both on the same shards."
        )
    if key == "multi_label":
        several, single = (first, second) if one else (second, first)
        return f"videos have several labels in the test of {several}, and one for {single}; evaluate both on one set."
    what = {"dataset": "the data set ", "split": "the split ", "list_split": "the official split "}[key]
    advice = {
        "dataset": "only scores of the same data set can be put together",
        "split": "write the same `split` under `test` of both runs in params.yaml, and evaluate them again",
        "list_split": "evaluate both with the same `list_split` of `dataset` in params.yaml",
    }[key]
    return f"{first} was tested on {what}{one} and {second} on {other}; {advice}."
