"""The command `fuse`: scores of several runs added, and a search for their weights."""

from __future__ import annotations

from collections.abc import Sequence

import click

from tdn_data.pipeline.errors import InputError
from tdn_data.stages.cli import console
from tdn_data.stages.cli.options import json_option
from tdn_data.stages.cli.types import Real, Text, Word


@click.command()
@click.argument("runs", nargs=-1, required=True, type=Text())
@click.option("--weight", "weights", multiple=True, type=Real(0, 1e6), help="One for each run  [default: 1 each].")
@click.option(
    "--normalize",
    type=Word("l1", "none", "softmax"),
    default="l1",
    show_default=True,
    help="l1: scores before softmax, each video's l1-normalised; none: as they are; softmax: probabilities.",
)
@click.option("--search", is_flag=True, help="Find the best weights; the runs must be evaluated on validation videos.")
@json_option
def fuse(runs: tuple[str, ...], weights: tuple[float, ...], normalize: str, search: bool, as_json: bool) -> None:
    """Add the scores of evaluated RUNS and say what that reaches; `fusions` in params.yaml keep it.

    \b
    Examples:
      tdn-data fuse tdn-rgb tdn-flow --weight 1 --weight 1.5
      tdn-data fuse tdn-rgb tdn-flow --search
    """
    from tdn_data.models.evaluation.metrics import compute_metrics
    from tdn_data.models.evaluation.results import metric_words
    from tdn_data.models.evaluation.run_record import check_same_tests
    from tdn_data.models.evaluation.scores import fuse_scores, remark_on_mixture, search_weights
    from tdn_data.stages.cli.evaluated import are_different_runs, run_scores

    if len(runs) < 2:
        raise click.UsageError("Give at least two runs.")
    if weights and (search or len(weights) != len(runs) or not sum(weights)):
        raise click.UsageError(f"Give --search, or --weight {len(runs)} times, once for each run and not all 0.")
    with console.messages(), console.wrong_arguments():
        if not are_different_runs(runs):
            raise InputError("a run is given twice; give each once, with the --weight that it shall have.", key="runs")
        found = {run: run_scores(run) for run in runs}
        record = check_same_tests({run: one for run, (_, one) in found.items()})
        streams, options = {run: scores for run, (scores, _) in found.items()}, {"normalize": normalize}
        if remark := remark_on_mixture(streams, normalize):
            console.err.print(console.shown(remark), soft_wrap=True, highlight=False)
        if search:
            _check_validation(record.dataset, record.split)
            weights = search_weights(streams, multi_label=record.multi_label, **options)
        weights = weights or (1.0,) * len(runs)
        fused = fuse_scores(streams, weights=weights, **options)
        metrics = compute_metrics(fused.scores, fused.labels, multi_label=record.multi_label).as_dict()
    if as_json:
        console.print_json({"runs": dict(zip(runs, weights, strict=True)), **options, "metrics": metrics})
        return
    words = metric_words(metrics, record.dataset)
    split = console.counted(int(metrics["num_videos"]), f"{record.split} video")
    console.out.print(console.shown(f"{_added(runs, weights)}: {words} on {split}"), soft_wrap=True, highlight=False)


def _added(runs: Sequence[str], weights: Sequence[float]) -> str:
    return " + ".join(f"{weight:g} {run}" for run, weight in zip(runs, weights, strict=True))


def _check_validation(dataset: str, split: str) -> None:
    """Raise InputError where scores are of the split that results are reported on."""
    from tdn_data.pipeline.datasets.registry import dataset_spec

    if split in ("test", dataset_spec(dataset).test_split):
        raise InputError(
            f"the runs were evaluated on {split}, the split that results on {dataset} are reported on; weights are "
            "searched on validation videos alone: evaluate the runs with another `split` of their `test`.",
            key="search",
        )


COMMANDS = (fuse,)
