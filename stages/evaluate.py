"""DVC stage `evaluate`: checkpoint and shards -> scores and metrics of one run."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

from tdn_data.models.evaluation.evaluate import evaluate, remark_on_mirrors
from tdn_data.models.evaluation.results import CLIP_SCORES, SCORES, metric_words, write_results
from tdn_data.models.evaluation.run_record import EVALUATION, describe_run, write_record
from tdn_data.models.memory import keep_freed_memory
from tdn_data.pipeline.files import check_output_file
from tdn_data.stages.cli import console
from tdn_data.stages.params import RUNS, load_params, trained


def main(name: str) -> None:
    """Run the stage."""
    evaluate_run(name)


def evaluate_run(name: str, *, num_processes: int = 1, ray_address: str | None = None) -> None:
    """Test a run of params.yaml on one process, or on several through Ray; the scores are the same."""
    keep_freed_memory()
    with console.messages(), console.wrong_arguments():
        params = load_params()
        run, config, folder = params.run(name), params.test_config(name), RUNS / name
        network = trained(folder, name)
        reader = params.open_shards(run.modality)
        check_output_file(folder / SCORES)
        remark_on_mirrors(config, reader.info, trained_mirrored=params.train_config(name).mirror)
        started = datetime.now(UTC)
        with console.progress(name, unit="videos") as update:
            options = {"config": config, "network": run.network, "clip_scores": folder / CLIP_SCORES}
            options |= {"num_processes": num_processes, "ray_address": ray_address}
            scores = evaluate(reader, network, on_progress=update, **options)
        if not config.clip_scores:
            (folder / CLIP_SCORES).unlink(missing_ok=True)  # of an earlier test
        metrics = write_results(folder, scores, reader.info, list_split=params.dataset.list_split)
        split = config.split_of(reader.info.name)
        facts = params.run_facts(name, reader, split, asdict(config))
        write_record(folder / EVALUATION, describe_run(started, **facts))
    words = metric_words({**metrics.as_dict(), **scores.clip_metrics}, reader.info.name)
    console.out.print(
        f"{name}: {words} on {console.counted(metrics.num_videos, f'{split} video')}", highlight=False, soft_wrap=True
    )


if __name__ == "__main__":
    console.run_stage(main)
