"""DVC stage `fuse`: RGB and flow scores of one network -> fused scores and metrics."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from tdn_data.models.evaluation.evaluate import in_order_of, read_scores
from tdn_data.models.evaluation.metrics import fuse
from tdn_data.models.evaluation.results import write_results
from tdn_data.models.evaluation.run_record import EVALUATION, check_same_test, describe_run, read_record, write_record
from tdn_data.stages.cli import console
from tdn_data.stages.params import FUSED, load_params, run_folder


def main(model: str) -> None:
    """Run the stage."""
    with console.messages(), console.wrong_arguments():
        params = load_params()
        folder = run_folder(model, FUSED)
        weights, reader, started = params.fuse, params.open_shards("rgb"), datetime.now(UTC)
        records = {one: read_record(run_folder(model, one) / EVALUATION) for one in ("rgb", "flow")}
        rgb, flow = (read_scores(run_folder(model, one) / "scores.parquet") for one in records)
        check_same_test(records["rgb"], records["flow"])
        flow = in_order_of(rgb.video_ids, flow)
        fused = replace(rgb, scores=fuse(rgb.scores, flow.scores, weights=(weights.rgb, weights.flow)))
        write_results(folder, fused, reader.info, list_split=params.dataset.list_split)
        facts = params.run_facts(reader, model, records["rgb"].split, weights.model_dump(), modality=FUSED)
        write_record(folder / EVALUATION, describe_run(started, **facts))


if __name__ == "__main__":
    console.run_stage(main)
