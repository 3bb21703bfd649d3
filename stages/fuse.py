"""DVC stage `fuse`: RGB and flow scores of one network -> fused scores and metrics. `python -m stages.fuse MODEL`."""

from __future__ import annotations

from dataclasses import replace

from models.evaluate import check_same_videos, read_scores
from models.metrics import fuse
from stages import edge
from stages.params import FUSED, load_params, run_folder
from stages.results import write_results


def main(model: str) -> None:
    """Run the stage."""
    with edge.messages(), edge.wrong_arguments():
        params = load_params()
        weights = params.fuse
        rgb, flow = (read_scores(run_folder(model, one) / "scores.parquet") for one in ("rgb", "flow"))
        check_same_videos(rgb, flow)
        fused = replace(rgb, scores=fuse(rgb.scores, flow.scores, weights=(weights.rgb, weights.flow)))
        folder = run_folder(model, FUSED)
        folder.mkdir(parents=True, exist_ok=True)
        info = params.open_shards("rgb").info
        write_results(folder, fused, info, list_split=params.dataset.list_split)


if __name__ == "__main__":
    edge.run_stage(main)
