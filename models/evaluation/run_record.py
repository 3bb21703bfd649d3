"""What a run was: its network, data, parameters, date, machine and library versions, kept beside its results.

`training.json` is written when a training ends, `evaluation.json` when a test or a fusion does. A page or a table that
shows several runs says of each what its own record says, not what params.yaml says now.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from tdn_data.models.library_versions import deciding_versions
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import read_json, write_json
from tdn_data.pipeline.machine import processor

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


def check_same_test(first: RunRecord, second: RunRecord) -> RunRecord:
    """Return `first`; raise InputError that names what differs where the scores of two runs cannot be put together."""
    for name in SAME_TEST:
        one, other = getattr(first, name), getattr(second, name)
        if one != other:
            raise InputError(
                f"{first.name} and {second.name} were tested with another {name} ({_short(one)} and {_short(other)}); "
                "evaluate both again.",
                key=name,
            )
    return first


def _short(value: object) -> str:
    words = str(value)
    return words if len(words) <= 60 else f"{words[:57]}..."
