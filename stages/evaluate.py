"""DVC stage `evaluate`: checkpoint and shards -> scores and metrics. `python -m stages.evaluate MODEL MODALITY`."""

from __future__ import annotations

import sys

from models.evaluate import evaluate
from pipeline.shards.reader import ShardReader
from stages import edge
from stages.params import RUNS, SHARDS, load_params
from stages.results import write_results


def main(model: str, modality: str) -> None:
    """Run the stage."""
    folder = RUNS / f"{model}-{modality}"
    with edge.messages(), edge.wrong_arguments():
        config = load_params().evaluate
        reader = ShardReader(SHARDS[modality], modality=modality)
        with edge.progress(f"{model} {modality}") as update:
            scores = evaluate(reader, folder / "checkpoint.pt", config=config, on_video=update)
        write_results(folder, scores, reader.info)


if __name__ == "__main__":
    main(*sys.argv[1:])
