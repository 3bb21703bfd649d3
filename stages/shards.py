"""DVC stages `frames` and `flow`: manifest -> shards of one modality."""

from __future__ import annotations

import contextlib

from tdn_data.pipeline.datasets.manifest import Manifest, read_manifest
from tdn_data.pipeline.errors import InputError, ShardError
from tdn_data.pipeline.extraction.cache import Policy
from tdn_data.pipeline.shards.ledger import read_dataset_json
from tdn_data.pipeline.shards.storage import Storage
from tdn_data.stages.cli import console
from tdn_data.stages.cli.extraction import extract_manifest, print_summary
from tdn_data.stages.params import MANIFEST, SHARDS, load_params


def main(modality: str) -> None:
    """Run the stage; continue where one was interrupted, recreate what other parameters, code or libraries made."""
    with console.messages():
        params = load_params()
        parameters = params.extract_parameters(modality)
        manifest, out, extract = read_manifest(MANIFEST), str(SHARDS[modality]), params.extract
        other = other_dataset(out, manifest)
        if other is not None:
            console.err.print(
                f"{out} holds {console.shown(other)}, which gives way to {manifest.dataset}; DVC's cache keeps it."
            )
        summary = extract_manifest(
            manifest,
            parameters,
            out=out,
            num_workers=extract.workers,
            policy=Policy(
                replace=True, retry_failed=extract.retry_failed, allow_loss=extract.allow_loss or other is not None
            ),
        )
    print_summary(summary)
    if summary.failed_share() > params.extract.fail_above:
        console.fail(
            f"{summary.failed_share():.1%} of the videos are partial or failed, more than extract.fail_above "
            f"({params.extract.fail_above:g}).",
            console.EXIT_FAILED,
        )


def other_dataset(out: str, manifest: Manifest) -> str | None:
    """Return the data set that a finished folder holds in place of the manifest's, if any."""
    with contextlib.suppress(InputError, ShardError):
        stored = str(read_dataset_json(Storage(out))["name"])
        return stored if stored != manifest.dataset else None
    return None


if __name__ == "__main__":
    console.run_stage(main)
