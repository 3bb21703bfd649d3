"""Image retrieval as the command runs it: sets and network, the search under progress bars, and what is shown of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from tdn_data.models.retrieval.search import (
    Database,
    SearchResult,
    check_database,
    choose_layers,
    num_readings,
    retrieval_network,
    search_layers,
    table_layers,
)
from tdn_data.models.retrieval.sheet import search_sheet
from tdn_data.models.retrieval.vlad import OnProgress, VladOptions
from tdn_data.pipeline.datasets.registry import dataset_spec, read_retrieval
from tdn_data.pipeline.datasets.retrieval import RetrievalSet
from tdn_data.pipeline.files import check_output_file, write_text
from tdn_data.pipeline.images import write_png
from tdn_data.stages.cli import console

NAMES_SHOWN = 20


@dataclass(frozen=True)
class RetrievalRun:
    """What was searched with what, and what came out: a result for each layer and each set of scales."""

    backbone: str
    weights: str | None
    database: Database
    learned_on: Database
    options: tuple[VladOptions, ...]  # one a layer
    results: tuple[SearchResult, ...]

    @property
    def network_words(self) -> str:
        """The backbone's name, and that it is untrained where it is."""
        return self.backbone if self.weights else f"{self.backbone}, UNTRAINED"

    @property
    def best(self) -> SearchResult:
        """The result of the highest mAP."""
        return max(self.results, key=lambda result: result.score.mean_average_precision)


def run_retrieval(
    dataset: str,
    root: Path,
    *,
    backbone: str,
    weights: str | None,
    layers: Sequence[str] | None,
    vocabulary_from: tuple[str, Path] | None,
    device: str,
    batch_size: int,
    fail_above: float,
    seed: int,
    **descriptor: object,
) -> RetrievalRun:
    """Search the data set under progress bars; `layers` are None for all of table 2.1, empty for the chapter's best.

    `descriptor` are the options of `VladOptions`. Raises InputError or ValueError for what cannot work, nearly all of
    it before the first image is read.
    """
    sets = [read_retrieval(dataset, root), *([read_retrieval(*vocabulary_from)] if vocabulary_from else [])]
    network = retrieval_network(backbone, weights=weights, seed=seed, device=device)
    named = table_layers(backbone, network) if layers is None else layers
    options = tuple(
        VladOptions(layer, seed=seed, **descriptor) for layer in choose_layers(backbone, network, dataset, named=named)
    )
    if weights is None:
        warning = f"no --weights: {backbone} is untrained, its weights are random, and its mAP is not the chapter's."
        console.err.print(f"[bold red]untrained:[/] {console.shown(warning)}", soft_wrap=True)
    database, learned_on = _checked(sets, fail_above)
    total = num_readings(options, len(database.images), len(learned_on.images))
    with _counted(total) as told:
        results = search_layers(
            network, database, options, learn_on=learned_on, batch_size=batch_size, on_progress=told
        )
    return RetrievalRun(backbone, weights, database, learned_on, options, results)


def _checked(sets: Sequence[RetrievalSet], fail_above: float) -> tuple[Database, Database]:
    """Return the set to search and the set to learn on, which may be the same."""
    with _counted(sum(len(one.images) for one in sets)) as told:
        checked = [check_database(one, fail_above=fail_above, on_progress=told) for one in sets]
    return checked[0], checked[-1]


@contextlib.contextmanager
def _counted(total: int) -> Iterator[OnProgress]:
    """Show a bar over images; give a function (what is being done, number of images just finished)."""
    done = 0
    with console.progress("", total=total) as update:

        def told(what: str, count: int) -> None:
            nonlocal done
            done += count
            update(done, description=what)

        yield told


def retrieval_record(run: RetrievalRun) -> dict[str, object]:
    """Return the run as JSON holds it: all that decides its numbers, what was lost, and AP by query."""
    options = vars(run.options[0]) | {"layers": [one.layer for one in run.options]}
    return {
        "backbone": run.backbone,
        "trained": run.weights is not None,
        "weights": run.weights,
        "options": {name: value for name, value in options.items() if name != "layer"},
        "searched": _database_record(run.database),
        "learned_on": _database_record(run.learned_on),
        "results": [
            {
                "layer": result.layer,
                "scales": result.scales,
                "num_dimensions": result.num_dimensions,
                "mAP": result.score.mean_average_precision,
                "average_precisions": result.score.average_precisions,
            }
            for result in run.results
        ],
    }


def _database_record(database: Database) -> dict[str, object]:
    retrieval = database.retrieval
    return {
        "dataset": retrieval.dataset,
        "root": retrieval.root,
        "num_images": len(database.images),
        "num_queries": len(retrieval.queries),
        "num_images_published": dataset_spec(retrieval.dataset).num_items,
        "unreadable": database.unreadable,
        "missing": database.missing,
    }


def write_record(path: Path, run: RetrievalRun) -> None:
    """Write the run's record as a JSON file."""
    write_text(check_output_file(path), console.as_json(retrieval_record(run)))


def draw_sheet(path: Path, run: RetrievalRun, *, num_queries: int) -> None:
    """Write a PNG of what the best of the results found."""
    best = run.best
    title = (
        f"{run.database.retrieval.dataset}: {run.network_words}, {best.layer}, {_scale_words(best.scales)}, "
        f"{best.num_dimensions} dimensions, mAP {100 * best.score.mean_average_precision:.1f} %"
    )
    write_png(path, search_sheet(run.database, best, title=title, num_queries=num_queries))


def print_retrieval(run: RetrievalRun) -> None:
    """Print mAP in percent, a row per layer and a column per set of scales, and what was lost."""
    columns = list(dict.fromkeys(result.scales for result in run.results))
    values = {(one.layer, one.scales): f"{100 * one.score.mean_average_precision:.1f}" for one in run.results}
    dimensions = run.options[0].num_dimensions or "all"
    title = f"{run.database.retrieval.dataset}, mAP in percent: {run.network_words}; {dimensions} dimensions"
    table = Table("layer", *map(_scale_words, columns))
    for one in run.options:
        table.add_row(one.layer, *(values[one.layer, scales] for scales in columns))
    console.out.print(f"[bold]{console.shown(title)}[/]", soft_wrap=True, highlight=False)
    console.out.print(table)
    same = run.learned_on is run.database
    learned_on = (
        "the same images"
        if same
        else f"{console.counted(len(run.learned_on.images), 'image')} of {_name(run.learned_on)}"
    )
    counts = ", ".join(
        (
            console.counted(len(run.database.retrieval.queries), "query", "queries"),
            console.counted(len(run.database.images), "image"),
        )
    )
    what = "vocabulary" if run.options[0].num_dimensions is None else "vocabulary and PCA"
    console.out.print(f"{counts}; {what} learned on {learned_on}", soft_wrap=True, highlight=False)
    for database in (run.database,) if same else (run.database, run.learned_on):
        _print_lost(database)


def _print_lost(database: Database) -> None:
    """Print which images of a set are not there, and that the copy is not the published one where it is not."""
    for names, words in ((database.unreadable, "unreadable"), (database.missing, "missing")):
        if names:
            shown = ", ".join(names[:NAMES_SHOWN])
            more = f" and {len(names) - NAMES_SHOWN} more; --out has them all" if len(names) > NAMES_SHOWN else ""
            text = f"{console.counted(len(names), 'image')} of {_name(database)} {words}: {shown}{more}"
            console.out.print(f"[bold]lost:[/] {console.shown(text)}", soft_wrap=True, highlight=False)
    found, published = len(database.retrieval.images), dataset_spec(_name(database)).num_items
    if found != published:
        words = f"{_name(database)} was published with {published} images; this copy has {found}"
        console.out.print(words, soft_wrap=True, highlight=False)


def _name(database: Database) -> str:
    return database.retrieval.dataset


def _scale_words(scales: tuple[int, ...]) -> str:
    return f"scale {scales[0]}" if len(scales) == 1 else f"scales {' + '.join(map(str, scales))}"
