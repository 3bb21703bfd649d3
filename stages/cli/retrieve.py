"""The command `retrieve`: image retrieval with VLAD, measured by the data set's own rule."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from tdn_data.models.retrieval.vlad_options import BATCH_SIZE, VladOptions
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import check_output_file, write_text
from tdn_data.pipeline.flow.methods import DEVICES
from tdn_data.stages.cli import console
from tdn_data.stages.cli.options import field_option, json_option, refuse_idle
from tdn_data.stages.cli.types import (
    DatasetName,
    InputFile,
    InputFolder,
    OutputFile,
    Real,
    Text,
    Whole,
    Word,
)

if TYPE_CHECKING:
    from tdn_data.models.retrieval.run import RetrievalPlan, RetrievalRun
    from tdn_data.models.retrieval.search import Database

NAMES_SHOWN = 20
NUM_CORRESPONDING, NUM_CLUSTERS = 4, 10  # queries in figure 2.3's picture, patches in figure 2.4's


@click.command()
@click.option("--dataset", type=DatasetName("retrieval"), required=True, help="holidays, oxford5k or paris6k.")
@click.option("--root", type=InputFolder(), required=True, help="Folder that holds the data set.")
@click.option("--backbone", type=Text(), default="googlenet", show_default=True, help="googlenet, vgg16, resnet50, ...")
@click.option(
    "--weights",
    type=InputFile("file of weights", or_word="imagenet"),
    help="A file, or imagenet: the published weights, downloaded on first use [default: random ones].",
)
@click.option(
    "--layer",
    "layers",
    type=Text(),
    multiple=True,
    help="May be repeated [default: the chapter's best, section 2.4.4].",
)
@click.option("--all-layers", is_flag=True, help="The backbone's layers of table 2.1, as in figure 2.2.")
@field_option("--scales", VladOptions, "scales", help="Multiples of the input size, each and all.")
@field_option("--clusters", VladOptions, "num_words", help="Words of the vocabulary.")
@field_option(
    "--dimensions",
    VladOptions,
    "num_dimensions",
    zero_is_none=True,
    help="After PCA and whitening (table 2.3); 0 keeps the whole VLAD (table 2.2).",
)
@field_option("--input-size", VladOptions, "input_size", help="Side at scale 1, pixels.")
@click.option(
    "--vocabulary-from",
    type=(DatasetName("retrieval"), InputFolder()),
    metavar="DATASET ROOT",
    help="Learn vocabulary and PCA on this set [default: the one searched].",
)
@field_option(
    "--features",
    VladOptions,
    "max_features",
    help="Local features drawn for the k-means, at each scale; 200,000 of 512 channels are 0.4 GB.",
)
@field_option(
    "--projection-images",
    VladOptions,
    "max_projection_images",
    help="Images for the PCA, spread evenly; each takes 4 bytes x clusters x channels x scales, some three times over.",
)
@field_option("--seed", VladOptions, "seed", help="Of what is drawn: features, k-means, untrained weights.")
@click.option("--device", type=Word(*DEVICES), default="auto", show_default=True)
@click.option(
    "--batch-size", default=BATCH_SIZE, show_default=True, type=Whole(1, 10_000), help="Images in the network at once."
)
@click.option(
    "--fail-above",
    type=Real(0, 1),
    default=0.01,
    show_default=True,
    help="Share of images that may be missing or not decode; more ends the run with exit code 1.",
)
@click.option("--out", type=OutputFile(), help="Write the results, with each query's AP, as JSON.")
@click.option("--sheet", type=OutputFile(".png"), help="Draw queries and what was found into this PNG.")
@click.option("--queries", default=12, show_default=True, type=Whole(1, 1000), help="Queries on the sheet.")
@click.option("--curves", type=OutputFile(".png"), help="Draw mAP by layer and scale into this PNG, as figure 2.2.")
@click.option(
    "--correspondences",
    type=OutputFile(".png"),
    help="Draw four queries, each patch replaced by its nearest of other images, into this PNG, as figure 2.3.",
)
@click.option(
    "--patch-clusters",
    type=OutputFile(".png"),
    help="Draw ten patches, each with its nearest of other images, into this PNG, as figure 2.4.",
)
@json_option
def retrieve(dataset: str, root: Path, backbone: str, weights: Path | str | None, layers: tuple[str, ...],
             all_layers: bool, vocabulary_from: tuple[str, Path] | None, seed: int, device: str, batch_size: int,
             fail_above: float, out: Path | None, sheet: Path | None, curves: Path | None, correspondences: Path | None,
             patch_clusters: Path | None, queries: int, as_json: bool, **descriptor: object) -> None:  # fmt: skip
    """Search a retrieval set with VLAD of convolutional features; mAP by layer and scale.

    After J. Y.-H. Ng's dissertation (2018), chapter 2. The text does not say where vocabulary and PCA are learned and
    names no other set ("in instance retrieval generally there is no training data available", section 2.3.3): they are
    learned on the set that is searched, or with --vocabulary-from on another. Every image is warped to a square, as in
    section 2.3.2. The sheet shows the best layer and scale: answers green, others red, queries from best to worst.
    --correspondences and --patch-clusters show every layer at each scale; a patch is the place of one local feature,
    and the nearest are those of the least L2 distance between features.

    \b
    Examples:
      tdn-data retrieve --dataset holidays --root /data/holidays --weights imagenet --sheet sheet.png
      tdn-data retrieve --dataset oxford5k --root /data/oxford --weights vgg16.pth --backbone vgg16 \\
          --all-layers --dimensions 0 --vocabulary-from paris6k /data/paris --curves figure_2_2.png
    """
    from tdn_data.models.memory import keep_freed_memory
    from tdn_data.models.retrieval.run import (
        draw_correspondences,
        draw_curves,
        draw_patch_clusters,
        draw_sheet,
        plan_retrieval,
        retrieval_record,
        run_retrieval,
    )

    pictures = {
        "sheet": sheet, "curves": curves, "correspondences": correspondences, "patch-clusters": patch_clusters,
    }  # fmt: skip

    with console.messages(), console.wrong_arguments():
        if all_layers and layers:
            raise InputError("--layer and --all-layers exclude each other.", key="layer")
        if sheet is None:
            refuse_idle(("queries",), "without --sheet")
        _check_outputs(root, {"out": out, **pictures}, weights)
        keep_freed_memory()
        plan = plan_retrieval(
            dataset,
            root,
            backbone=backbone,
            weights=None if weights is None else str(weights),
            layers=None if all_layers else layers,
            vocabulary_from=vocabulary_from,
            seed=seed,
            device=device,
            **descriptor,
        )
        _warn_if_untrained(plan)
        with console.progress("", unit="readings of images") as update:
            run = run_retrieval(
                plan,
                batch_size=batch_size,
                fail_above=fail_above,
                num_corresponding=NUM_CORRESPONDING if correspondences else 0,
                num_clusters=NUM_CLUSTERS if patch_clusters else 0,
                on_progress=update,
            )
        record = retrieval_record(run)
        if out is not None:
            write_text(check_output_file(out), console.as_json(record))
        if sheet is not None:
            draw_sheet(sheet, run, num_queries=queries)
        if curves is not None:
            draw_curves(curves, run)
        if correspondences is not None:
            draw_correspondences(correspondences, run)
        if patch_clusters is not None:
            draw_patch_clusters(patch_clusters, run)
    if as_json:
        console.print_json(record)
        return
    _print_retrieval(run)
    for name, path in {"results": out, **pictures}.items():
        if path is not None:
            console.out.print(f"{name}: {console.shown(path)}", soft_wrap=True, highlight=False)


def _check_outputs(root: Path, outputs: dict[str, Path | None], weights: Path | str | None) -> None:
    """Raise InputError where writing the results would change what is read, or one of them the other."""
    given = {name: path for name, path in outputs.items() if path is not None}
    for path in given.values():
        check_output_file(path, inputs=[] if weights in (None, "imagenet") else [weights])
    for (one, path), (other, same) in itertools.combinations(given.items(), 2):
        if path == same:
            raise InputError(f"--{one} and --{other} name the same file; give each its own.", key=one)
    for name, path in given.items():
        if name != "out" and path.resolve().is_relative_to(root.resolve()):
            raise InputError(
                f"{path} would be an image of the data set from then on; draw it outside --root.", key=name
            )
    out = outputs["out"]
    if out is not None and out.exists() and out.resolve().is_relative_to(root.resolve()):
        raise InputError(f"{out} is a file of the data set; write the results elsewhere.", key="out")


def _warn_if_untrained(plan: RetrievalPlan) -> None:
    if plan.weights is None:
        warning = (
            f"no --weights: {plan.backbone} is untrained, its weights are random, and its mAP is not the chapter's."
        )
        console.err.print(f"[bold red]untrained:[/] {console.shown(warning)}", soft_wrap=True)


def _print_retrieval(run: RetrievalRun) -> None:
    """Print mAP in percent, a row per layer and a column per set of scales, and what was lost."""
    from tdn_data.models.retrieval.figures import scale_words

    options, database = run.plan.options, run.database
    columns = list(dict.fromkeys(result.scales for result in run.results))
    values = {(one.layer, one.scales): f"{100 * one.score.mean_average_precision:.1f}" for one in run.results}
    dimensions = options[0].num_dimensions or "all"
    title = f"{database.name}, mAP in percent: {run.plan.network_words}; {dimensions} dimensions"
    table = Table("layer", *map(scale_words, columns))
    for one in options:
        table.add_row(one.layer, *(values[one.layer, scales] for scales in columns))
    console.out.print(f"[bold]{console.shown(title)}[/]", soft_wrap=True, highlight=False)
    console.out.print(table)
    console.out.print(_count_words(run), soft_wrap=True, highlight=False)
    _print_lost(database)
    if run.learned_on is not database:
        _print_lost(run.learned_on)


def _count_words(run: RetrievalRun) -> str:
    """Return how many queries and images there were, and what the vocabulary was learned on."""
    queries = console.counted(len(run.database.retrieval.queries), "query", "queries")
    images, others = (console.counted(len(one.images), "image") for one in (run.database, run.learned_on))
    learned_on = "the same images" if run.learned_on is run.database else f"{others} of {run.learned_on.name}"
    what = "vocabulary" if run.plan.options[0].num_dimensions is None else "vocabulary and PCA"
    return f"{queries}, {images}; {what} learned on {learned_on}"


def _print_lost(database: Database) -> None:
    """Print which images of a set are not there, and that the copy is not the published one where it is not."""
    for names, words in ((database.unreadable, "unreadable"), (database.missing, "missing")):
        if names:
            shown = ", ".join(names[:NAMES_SHOWN])
            more = f" and {len(names) - NAMES_SHOWN} more; --out has them all" if len(names) > NAMES_SHOWN else ""
            text = f"{console.counted(len(names), 'image')} of {database.name} {words}: {shown}{more}"
            console.out.print(f"[bold]lost:[/] {console.shown(text)}", soft_wrap=True, highlight=False)
    found, published = len(database.retrieval.images), database.num_images_published
    if found != published:
        words = f"{database.name} was published with {published} images; this copy has {found}"
        console.out.print(words, soft_wrap=True, highlight=False)


COMMANDS = (retrieve,)
