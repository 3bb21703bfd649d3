"""DVC stage `index`: the data set's own lists and files -> manifest.parquet."""

from __future__ import annotations

from pathlib import Path

from tdn_data.pipeline.datasets.audit import audit_listing
from tdn_data.pipeline.datasets.index import write_index
from tdn_data.pipeline.datasets.manifest import read_manifest
from tdn_data.pipeline.datasets.registry import dataset_spec, read_videos
from tdn_data.pipeline.datasets.same_content import same_content_findings
from tdn_data.pipeline.extraction.probing import probing
from tdn_data.stages.cli import console
from tdn_data.stages.cli.findings import index_words, print_findings, print_reading
from tdn_data.stages.params import load_params


def main() -> None:
    """Run the stage."""
    with console.messages():
        params = load_params()
        section, out = params.dataset, params.manifest
        listing = read_videos(section.name, Path(section.root))
        print_reading(listing)
        with console.progress("probing") as update, probing() as probe:
            record = write_index(listing, out, probe=probe, on_progress=update)
        findings = audit_listing(listing, dataset_spec(section.name))
        findings = (*findings, *same_content_findings(read_manifest(out, root=listing.root)))
    print_findings(findings, listing.root)
    console.out.print(f"{out}: {console.shown(index_words(record, findings))}", soft_wrap=True)


if __name__ == "__main__":
    console.run_stage(main)
