"""DVC stage `fuse`: scores of several runs -> fused scores and metrics."""

from __future__ import annotations

from datetime import UTC, datetime

from tdn_data.models.evaluation.results import write_results
from tdn_data.models.evaluation.run_record import EVALUATION, check_same_tests, describe_fusion, write_record
from tdn_data.models.evaluation.scores import fuse_scores, remark_on_mixture
from tdn_data.stages.cli import console
from tdn_data.stages.cli.evaluated import evaluated
from tdn_data.stages.params import FUSIONS, RUNS, check_word, load_params


def main(name: str) -> None:
    """Run the stage."""
    with console.messages(), console.wrong_arguments():
        params, started = load_params(), datetime.now(UTC)
        check_word("fusion", name, params.fusions)
        fusion = params.fusions[name]
        found = {run: evaluated(RUNS / run, run) for run in fusion.runs}
        record = check_same_tests({run: one for run, (_, one) in found.items()})
        scores = {run: one for run, (one, _) in found.items()}
        if remark := remark_on_mixture(scores, fusion.normalize):
            console.err.print(console.shown(f"{name}: {remark}"), soft_wrap=True, highlight=False)
        fused = fuse_scores(scores, weights=tuple(fusion.runs.values()), normalize=fusion.normalize)
        info = params.open_shards(record.modality).info
        write_results(FUSIONS / name, fused, info, list_split=params.dataset.list_split)
        facts = {"runs": dict(fusion.runs), "normalize": fusion.normalize}
        write_record(FUSIONS / name / EVALUATION, describe_fusion(started, name, record, facts))


if __name__ == "__main__":
    console.run_stage(main)
