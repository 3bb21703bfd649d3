"""A retrieval run from names to results: what is asked for, the search, its record and its picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tdn_data.models.backbones import Backbone
from tdn_data.models.retrieval.figures import layer_curves, scale_words, search_sheet
from tdn_data.models.retrieval.image_sets import RetrievalSet, read_image_set
from tdn_data.models.retrieval.patch_figures import correspondence_sheet, patch_cluster_sheet
from tdn_data.models.retrieval.patches import PatchNeighbours, choose_patches
from tdn_data.models.retrieval.ranking import ImageFiles
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
from tdn_data.models.retrieval.vlad_options import VladOptions
from tdn_data.pipeline.files import check_output_file, write_bytes
from tdn_data.pipeline.images import write_png
from tdn_data.pipeline.progress import OnProgress, Tally


@dataclass(frozen=True)
class RetrievalPlan:
    """What is to be searched with what: one set of options for each layer; `sets` are the set to search and, if it is
    another, the set to learn vocabulary and PCA on.
    """

    sets: tuple[RetrievalSet, ...]
    network: Backbone
    backbone: str
    weights: str | None
    options: tuple[VladOptions, ...]

    @property
    def network_words(self) -> str:
        """The backbone's name, and that it is untrained where it is."""
        return self.backbone if self.weights else f"{self.backbone}, UNTRAINED"


@dataclass(frozen=True)
class RetrievalRun:
    """What was asked for and what came out: a result for each layer and each set of scales."""

    plan: RetrievalPlan
    database: Database
    learned_on: Database
    results: tuple[SearchResult, ...]

    @property
    def best(self) -> SearchResult:
        """The result of the highest mAP."""
        return max(self.results, key=lambda result: result.score.mean_average_precision)

    @property
    def neighbours(self) -> tuple[PatchNeighbours, ...]:
        """The nearest patches of those asked about, for each layer and each scale."""
        return tuple(one.neighbours for one in self.results if one.neighbours is not None)


def plan_retrieval(
    dataset: str,
    root: Path,
    *,
    backbone: str,
    weights: str | None,
    layers: Sequence[str] | None,
    vocabulary_from: tuple[str, Path] | None,
    device: str,
    seed: int,
    **descriptor: object,
) -> RetrievalPlan:
    """Read the sets' lists, build the network and choose the layers; no image is read.

    `layers` are None for all of table 2.1, empty for the chapter's best. `vocabulary_from` is the name and the folder
    of another set to learn on. `descriptor` are the options of `VladOptions`. Raises InputError or ValueError for what
    cannot work.
    """
    sets = (read_image_set(dataset, root), *([read_image_set(*vocabulary_from)] if vocabulary_from else []))
    network = retrieval_network(backbone, weights=weights, seed=seed, device=device)
    named = table_layers(backbone, network) if layers is None else layers
    chosen = choose_layers(backbone, network, dataset, named=named)
    options = tuple(VladOptions(layer=layer, seed=seed, **descriptor) for layer in chosen)
    return RetrievalPlan(sets, network, backbone, weights, options)


def run_retrieval(
    plan: RetrievalPlan,
    *,
    batch_size: int,
    fail_above: float,
    num_corresponding: int = 0,
    num_clusters: int = 0,
    on_progress: OnProgress | None = None,
) -> RetrievalRun:
    """Check every image, then search; `on_progress` counts every time that an image is read.

    The nearest patches are found for every place of `num_corresponding` queries and for `num_clusters` places drawn.
    Raises PipelineError when a larger share than `fail_above` of a set's images is lost, and what `search_layers` does.
    """
    num_images = [len(one.images) for one in plan.sets]
    tally = Tally(sum(num_images) + num_readings(plan.options, num_images[0], num_images[-1]), on_progress)
    checked = [check_database(one, fail_above=fail_above, tally=tally) for one in plan.sets]
    database, learned_on = checked[0], checked[-1]
    # what does not decode is not read again
    tally.num_total = tally.num_done + num_readings(plan.options, len(database.images), len(learned_on.images))
    patches = None
    if num_corresponding or num_clusters:
        queries = [query.image for query in database.retrieval.queries]
        patches = choose_patches(
            list(database.images),
            queries,
            num_images=num_corresponding,
            num_spots=num_clusters,
            seed=plan.options[0].seed,
        )
    results = search_layers(
        plan.network,
        database,
        plan.options,
        learn_on=learned_on,
        patches=patches,
        batch_size=batch_size,
        tally=tally,
    )
    return RetrievalRun(plan, database, learned_on, results)


def retrieval_record(run: RetrievalRun) -> dict[str, object]:
    """Return the run as JSON holds it: all that decides its numbers, what was lost, and AP by query."""
    plan = run.plan
    options = plan.options[0].model_dump() | {"layers": [one.layer for one in plan.options]}
    return {
        "backbone": plan.backbone,
        "trained": plan.weights is not None,
        "weights": plan.weights,
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
    return {
        "dataset": database.name,
        "root": str(database.retrieval.root),
        "num_images": len(database.images),
        "num_queries": len(database.retrieval.queries),
        "num_images_published": database.num_images_published,
        "unreadable": database.unreadable,
        "missing": database.missing,
    }


def draw_sheet(path: Path, run: RetrievalRun, *, num_queries: int) -> None:
    """Write a PNG of what the best of the results found."""
    best = run.best
    title = (
        f"{run.database.name}: {run.plan.network_words}, {best.layer}, {scale_words(best.scales)}, "
        f"{best.num_dimensions} dimensions, mAP {100 * best.score.mean_average_precision:.1f} %"
    )
    write_png(path, search_sheet(run.database, best, title=title, num_queries=num_queries))


def draw_curves(path: Path, run: RetrievalRun) -> None:
    """Write a PNG of mAP by layer and scales (figure 2.2); the same run gives the same bytes."""
    dimensions = run.plan.options[0].num_dimensions or "all"
    figure = layer_curves(run.results, title=f"{run.database.name}: {run.plan.network_words}, {dimensions} dimensions")
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    write_bytes(check_output_file(path), content.getvalue())


def draw_correspondences(path: Path, run: RetrievalRun) -> None:
    """Write a PNG of queries put together from their patches' nearest ones, by layer and scale (figure 2.3)."""
    names = run.neighbours[0].question.images
    images = ImageFiles(tuple(run.database.images[name] for name in names))
    title = f"{run.database.name}: {run.plan.network_words}, queries put together from patches of other images"
    write_png(path, correspondence_sheet(run.neighbours, images, title=title))


def draw_patch_clusters(path: Path, run: RetrievalRun) -> None:
    """Write a PNG of drawn patches and their nearest ones, by layer and scale (figure 2.4)."""
    title = f"{run.database.name}: {run.plan.network_words}, patches at the left and those nearest to them"
    write_png(path, patch_cluster_sheet(run.neighbours, title=title))
