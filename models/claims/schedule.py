"""All runs that claims need: which are missing, in which order, several processes side by side."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from statistics import mean

from tdn_data.models.claims.book import Book
from tdn_data.models.claims.material import make_data
from tdn_data.models.claims.trained import Place, SeededRun, make_run, seconds_of
from tdn_data.pipeline.errors import PipelineError

GUESSED_SECONDS = 60.0  # of a run as long as none has been measured


def missing_runs(book: Book, claims: Sequence[str], place: Place) -> list[SeededRun]:
    """Return the runs that claims still need, each after those that it starts from."""
    names = book.runs_of(name for claim in claims for name in book.claims[claim].names)
    ordered = dict.fromkeys(
        SeededRun(one, seed) for seed in book.seeds for name in names for one in (*book.parents(name), name)
    )
    return [run for run in ordered if not run.is_done(book, place)]


def make_runs(book: Book, claims: Sequence[str], place: Place, *, jobs: int, say: Callable[[str], None]) -> None:
    """Make the data sets and runs that claims need and that are not there, `jobs` at a time; `say` is called with each.

    Stopped at any moment, the same call goes on. Raises PipelineError where a process is lost.
    """
    missing = missing_runs(book, claims, place)
    for name, modality in dict.fromkeys(pair for run in missing for pair in _read_by(run, book)):
        make_data(place.folder, book.data[name], modality, num_workers=jobs, say=say)
    for number, (run, seconds) in enumerate(_side_by_side(book, missing, place, jobs), start=1):
        left = _seconds_left(book, missing[number:], place) / jobs
        words = f"about {max(1, round(left / 60))} min left" if number < len(missing) else "all done"
        say(f"{number} of {len(missing)}: {run.name}, seed {run.seed}, {seconds:.0f} s of one core; {words}")


def _read_by(run: SeededRun, book: Book) -> list[tuple[str, str]]:
    """Return which data set, and which of its modalities, a run reads."""
    trained = book.trained(run.name)
    target = ["flow"] if book.train_config(run.name, seed=run.seed).needs_flow else []
    return [(trained.data, modality) for modality in dict.fromkeys([trained.modality, *target])]


def _side_by_side(book: Book, missing: list[SeededRun], place: Place, jobs: int) -> Iterator[tuple[SeededRun, float]]:
    """Yield each run with its seconds as it gets done; a run begins when those are done that it waits for.

    Two tests of one training are never made at the same time: the second would train again.
    """
    waiting, running = list(missing), {}
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        while waiting or running:
            for run in list(waiting):
                if len(running) < jobs and _may_begin(run, book, place, waiting, running):
                    waiting.remove(run)
                    running[pool.submit(make_run, run, book, place)] = run
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(done), _seconds(done)


def _may_begin(
    run: SeededRun, book: Book, place: Place, waiting: Sequence[SeededRun], running: dict[Future, SeededRun]
) -> bool:
    unfinished = {(one.name, one.seed) for one in (*waiting, *running.values())}
    folders = {one.folder(book, place) for one in running.values()}
    parents_done = all((parent, run.seed) not in unfinished for parent in book.parents(run.name))
    return parents_done and run.folder(book, place) not in folders


def _seconds(done: Future) -> float:
    try:
        return done.result()
    except BrokenProcessPool as error:
        raise PipelineError(
            "a training process was lost, which mostly is memory running out; the same command goes on, with fewer "
            "JOBS perhaps."
        ) from error


def costs(book: Book, place: Place) -> dict[str, float]:
    """Return the seconds of processor time that training each run takes, the mean of the seeds that are trained."""
    found = {}
    for name, run in book.runs.items():
        seeded = [] if run.of else [SeededRun(name, seed) for seed in book.seeds]
        if measured := [seconds for one in seeded if (seconds := seconds_of(one, book, place)) is not None]:
            found[name] = round(mean(measured), 1)
    return found


def _seconds_left(book: Book, runs: Sequence[SeededRun], place: Place) -> float:
    """Return the processor time of trainings, by what their other seeds took, else by the mean of all measured ones."""
    known = costs(book, place)
    usual = mean(known.values()) if known else GUESSED_SECONDS
    untrained = {run.folder(book, place): run for run in runs if not run.is_trained(book, place)}
    return sum(known.get(book.runs[run.name].of or run.name, usual) for run in untrained.values())
