"""DVC stage `evaluate`: checkpoint and shards -> scores and metrics."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

from tdn_data.models.evaluation.evaluate import evaluate
from tdn_data.models.evaluation.results import metric_words, write_results
from tdn_data.models.evaluation.run_record import EVALUATION, describe_run, write_record
from tdn_data.models.memory import keep_freed_memory
from tdn_data.pipeline.files import check_output_file
from tdn_data.stages.cli import console
from tdn_data.stages.params import load_params, run_folder


def main(model: str, modality: str) -> None:
    """Run the stage."""
    keep_freed_memory()
    with console.messages(), console.wrong_arguments():
        params = load_params()
        folder = run_folder(model, modality)
        reader = params.open_shards(modality)
        check_output_file(folder / "scores.parquet")
        started = datetime.now(UTC)
        with console.progress(f"{model} {modality}", unit="videos") as update:
            scores = evaluate(
                reader, folder / "checkpoint.pt", config=params.evaluate, network=model, on_progress=update
            )
        metrics = write_results(folder, scores, reader.info, list_split=params.dataset.list_split)
        split = params.evaluate.split_of(reader.info.name)
        facts = params.run_facts(reader, model, split, asdict(params.evaluate))
        write_record(folder / EVALUATION, describe_run(started, **facts))
    words = metric_words(metrics.as_dict(), reader.info.name)
    console.out.print(
        f"{model} {modality}: {words} on {console.counted(metrics.num_videos, f'{split} video')}", highlight=False
    )


if __name__ == "__main__":
    console.run_stage(main)
