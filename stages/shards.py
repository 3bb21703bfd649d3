"""DVC stages `frames` and `flow`: manifest -> shards of one modality. `python -m stages.shards rgb|flow`."""

from __future__ import annotations

from pipeline.cache import Policy
from pipeline.manifest import read_manifest
from stages import edge
from stages.extraction import extract_manifest, print_summary
from stages.params import MANIFEST, SHARDS, load_params


def main(modality: str) -> None:
    """Run the stage; continue where one was interrupted, recreate what other parameters, code or libraries made."""
    with edge.messages():
        params = load_params()
        parameters = params.extract_parameters(modality)
        summary = extract_manifest(
            read_manifest(MANIFEST),
            parameters,
            out=str(SHARDS[modality]),
            num_workers=params.extract.workers,
            policy=Policy(replace=True, retry_failed=params.extract.retry_failed, allow_loss=params.extract.allow_loss),
        )
    print_summary(summary)
    if summary.failed_share() > params.extract.fail_above:
        edge.fail(
            f"{summary.failed_share():.1%} of the videos are partial or failed, more than extract.fail_above "
            f"({params.extract.fail_above:g}).",
            edge.EXIT_FAILED,
        )


if __name__ == "__main__":
    edge.run_stage(main)
