"""The command `retrieve`: image retrieval with VLAD, measured by the data set's own rule."""

from __future__ import annotations

from pathlib import Path

import click

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import check_output_file
from tdn_data.pipeline.flow.methods import DEVICES
from tdn_data.pipeline.limits import MAX_SEED
from tdn_data.stages.cli import console
from tdn_data.stages.cli.options import json_option, refuse_idle
from tdn_data.stages.cli.types import DatasetName, InputFile, InputFolder, Numbers, OutputFile, Real, Text, Whole, Word


@click.command()
@click.option("--dataset", type=DatasetName(), required=True, help="holidays, oxford5k or paris6k.")
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
@click.option(
    "--scales", type=Numbers(), default="1,2", show_default=True, help="Multiples of the input size, each and together."
)
@click.option(
    "--clusters", "num_words", default=100, show_default=True, type=Whole(1, 100_000), help="Words of the vocabulary."
)
@click.option(
    "--dimensions",
    "num_dimensions",
    default=128,
    show_default=True,
    type=Whole(0, 100_000),
    callback=lambda context, option, value: value or None,
    help="After PCA and whitening (table 2.3); 0 keeps the whole VLAD (table 2.2).",
)
@click.option("--input-size", default=224, show_default=True, type=Whole(32, 4096), help="Side at scale 1, pixels.")
@click.option(
    "--vocabulary-from",
    type=(DatasetName(), InputFolder()),
    metavar="DATASET ROOT",
    help="Learn vocabulary and PCA on this set [default: the one searched].",
)
@click.option(
    "--features",
    "max_features",
    default=200_000,
    show_default=True,
    type=Whole(1),
    help="Local features drawn for the k-means, at each scale; 200,000 of 512 channels are 0.4 GB.",
)
@click.option(
    "--projection-images",
    "max_projection_images",
    default=2048,
    show_default=True,
    type=Whole(2),
    help="Images for the PCA, spread evenly; each takes 4 bytes x clusters x channels x scales, some three times over.",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=Whole(0, MAX_SEED),
    help="Of what is drawn: features, k-means, untrained weights.",
)
@click.option("--device", type=Word(*DEVICES), default="auto", show_default=True)
@click.option(
    "--batch-size", default=8, show_default=True, type=Whole(1, 10_000), help="Images in the network at once."
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
@json_option
def retrieve(dataset: str, root: Path, backbone: str, weights: Path | str | None, layers: tuple[str, ...],
             all_layers: bool, vocabulary_from: tuple[str, Path] | None, seed: int, device: str, batch_size: int,
             fail_above: float, out: Path | None, sheet: Path | None, queries: int, as_json: bool,
             **descriptor: object) -> None:  # fmt: skip
    """Search a retrieval set with VLAD of convolutional features; mAP by layer and scale.

    After J. Y.-H. Ng's dissertation (2018), chapter 2. The text does not say where vocabulary and PCA are learned and
    names no other set ("in instance retrieval generally there is no training data available", section 2.3.3): they are
    learned on the set that is searched, or with --vocabulary-from on another. Every image is warped to a square, as in
    section 2.3.2. The sheet shows the best layer and scale: answers green, others red, queries from best to worst.

    \b
    Examples:
      tdn-data retrieve --dataset holidays --root /data/holidays --weights imagenet --sheet sheet.png
      tdn-data retrieve --dataset oxford5k --root /data/oxford --weights vgg16.pth --backbone vgg16 \\
          --all-layers --dimensions 0 --vocabulary-from paris6k /data/paris --out results.json
    """
    from tdn_data.models.memory import keep_freed_memory
    from tdn_data.stages.retrieval import draw_sheet, print_retrieval, retrieval_record, run_retrieval, write_record

    with console.messages(), console.wrong_arguments():
        if all_layers and layers:
            raise InputError("--layer and --all-layers exclude each other.", key="layer")
        if sheet is None:
            refuse_idle(("queries",), "without --sheet")
        _check_outputs(root, out, sheet, weights)
        keep_freed_memory()
        run = run_retrieval(
            dataset,
            root,
            backbone=backbone,
            weights=None if weights is None else str(weights),
            layers=None if all_layers else layers,
            vocabulary_from=vocabulary_from,
            seed=seed,
            device=device,
            batch_size=batch_size,
            fail_above=fail_above,
            **descriptor,
        )
        if out is not None:
            write_record(out, run)
        if sheet is not None:
            draw_sheet(sheet, run, num_queries=queries)
    if as_json:
        console.print_json(retrieval_record(run))
        return
    print_retrieval(run)
    for name, path in (("results", out), ("sheet", sheet)):
        if path is not None:
            console.out.print(f"{name}: {console.shown(path)}", soft_wrap=True, highlight=False)


def _check_outputs(root: Path, out: Path | None, sheet: Path | None, weights: Path | str | None) -> None:
    """Raise InputError where writing the results would change what is read, or one of them the other."""
    for path in (out, sheet):
        if path is not None:
            check_output_file(path, inputs=[] if weights in (None, "imagenet") else [weights])
    if out is not None and out == sheet:
        raise InputError("--out and --sheet name the same file; give each its own.", key="out")
    if sheet is not None and sheet.resolve().is_relative_to(root.resolve()):
        raise InputError(
            f"{sheet} would be an image of the data set from then on; draw it outside --root.", key="sheet"
        )
    if out is not None and out.exists() and out.resolve().is_relative_to(root.resolve()):
        raise InputError(f"{out} is a file of the data set; write the results elsewhere.", key="out")


COMMANDS = (retrieve,)
