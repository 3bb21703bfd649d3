"""The run that a word on the command line means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tdn_data.models.evaluation.protocol import EvaluateConfig, config_from
from tdn_data.models.evaluation.results import SCORES
from tdn_data.models.evaluation.run_record import EVALUATION, RunRecord, read_record
from tdn_data.models.evaluation.scores import VideoScores, how_to_make, read_scores
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.text import some_of
from tdn_data.stages.params import FUSIONS, RUNS, trained


def run_folder(word: str) -> Path:
    """Return the folder of a run or fusion, named as in params.yaml or by its folder; InputError lists the known."""
    for folder in (RUNS / word, FUSIONS / word, Path(word)):
        if folder.is_dir():
            return folder
    known = sorted(
        path.name for place in (RUNS, FUSIONS) if place.is_dir() for path in place.iterdir() if path.is_dir()
    )
    words = f"the runs here are {some_of(known)}" if known else "there is none here; stand in the project's folder"
    raise InputError(f"{word!r} is no run and no folder of one; {words}.", key=word)


def are_different_runs(words: Sequence[str]) -> bool:
    """Tell whether each word means another run, however it is written; InputError as `run_folder` for what is none."""
    return len({run_folder(word).resolve() for word in words}) == len(words)


def run_checkpoint(word: str) -> Path:
    """Return a run's checkpoint; raise InputError where it has none."""
    return trained(run_folder(word), word)


def run_scores(word: str) -> tuple[VideoScores, RunRecord]:
    """Return what a run was found to score in its test, and its record.

    Raises InputError where it was never tested, and where the two are not of one test.
    """
    return evaluated(run_folder(word), word)


def evaluated(folder: Path, word: str) -> tuple[VideoScores, RunRecord]:
    """Return what `run_scores` does of a run's folder, which the user means by `word`."""
    if missing := [name for name in (SCORES, EVALUATION) if not (folder / name).exists()]:
        words = f"{folder / missing[0]} is missing; {how_to_make(folder / missing[0])}"
        raise InputError(f"{word} was never evaluated: {words}.", path=folder)
    scores, record = read_scores(folder / SCORES), read_record(folder / EVALUATION)
    if scores.scores.shape[1] != len(record.class_names):
        words = (
            f"holds {scores.scores.shape[1]} scores a video, and {EVALUATION} names {len(record.class_names)} classes"
        )
        raise InputError(f"{folder / SCORES} {words}; evaluate {word} again.", path=folder)
    return scores, record


def run_protocol(word: str, default: EvaluateConfig) -> EvaluateConfig:
    """Return the protocol that a run was tested by, `default` where it was not; InputError where it holds none."""
    path = run_folder(word) / EVALUATION
    if not path.exists():
        return default
    try:
        return config_from(read_record(path).parameters)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{path} holds no protocol that a test could have; evaluate {word} again.", path=path
        ) from error
