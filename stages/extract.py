"""DVC stage `extract`: manifest -> shards of one modality, and the small file that stands for them."""

from __future__ import annotations

from tdn_data.pipeline.datasets.manifest import read_manifest
from tdn_data.pipeline.extraction.cache import Policy
from tdn_data.pipeline.files import write_json
from tdn_data.pipeline.parameters import ExtractParameters
from tdn_data.pipeline.shards.ledger import read_dataset_json
from tdn_data.pipeline.shards.storage import Storage
from tdn_data.stages.cli import console
from tdn_data.stages.cli.extraction import extract_manifest, print_summary
from tdn_data.stages.params import Params, load_params


def main(modality: str) -> None:
    """Run the stage; continue where one was interrupted, recreate what other parameters, code or libraries made."""
    with console.messages():
        params = load_params()
        parameters, folder = params.extract_parameters(modality), params.shard_folder(modality)
        if parameters is not None:
            _extract(params, modality, parameters)
        params.open_shards(modality)  # says what is wrong with shards that were made elsewhere
        about = read_dataset_json(Storage(folder))
        write_json(params.shard_summary(modality), {"folder": str(folder), "digest": about["digest"]})


def _extract(params: Params, modality: str, parameters: ExtractParameters) -> None:
    extract = params.extract
    summary = extract_manifest(
        read_manifest(params.manifest),
        parameters,
        out=str(params.shard_folder(modality)),
        num_workers=extract.workers,
        policy=Policy(replace=True, retry_failed=extract.retry_failed, allow_loss=extract.allow_loss),
    )
    print_summary(summary)
    if summary.failed_share() > extract.fail_above:
        console.fail(
            f"{summary.failed_share():.1%} of the videos are partial or failed, more than extract.fail_above "
            f"({extract.fail_above:g}).",
            console.EXIT_FAILED,
        )


if __name__ == "__main__":
    console.run_stage(main)
