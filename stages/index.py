"""DVC stage `index`: the data set's own lists and files -> manifest.parquet."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pipeline.index import index_dataset
from pipeline.manifest import write_manifest
from stages import edge
from stages.params import MANIFEST, load_params


def write_index(dataset: str, root: Path, out: Path, *, limit: int | None = None) -> dict[str, object]:
    """Index and probe a data set under a progress bar, write the manifest, return its counts."""
    with edge.progress("probing") as update:
        done = 0

        def on_video(count: int) -> None:
            nonlocal done
            done += count
            update(done)

        manifest = index_dataset(dataset, root, limit=limit, probe=True, on_video=on_video)
        update(done, len(manifest))
    write_manifest(manifest, out)
    problems = Counter(record.problem for record in manifest if record.problem)
    return {"num_videos": len(manifest), "splits": manifest.splits(), "problems": dict(problems)}


def main() -> None:
    """Run the stage."""
    with edge.messages():
        section = load_params().dataset
        write_index(section.name, Path(section.root), MANIFEST)


if __name__ == "__main__":
    main()
