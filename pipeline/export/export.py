"""Export of stored videos into another format, from one call."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.export.huggingface import write_hugging_face
from tdn_data.pipeline.export.sets import write_image_folder, write_rawframes
from tdn_data.pipeline.export.source import ExportSource, open_source
from tdn_data.pipeline.export.target import Target
from tdn_data.pipeline.export.videos import write_arrays, write_flo_files, write_gifs, write_images, write_movies
from tdn_data.pipeline.export.webdataset import write_webdataset
from tdn_data.pipeline.progress import OnProgress, reported
from tdn_data.pipeline.shards.ledger import count_by_status
from tdn_data.pipeline.shards.schema import LedgerRow

FORMATS: dict[str, Callable[[ExportSource, Target], Iterator[None]]] = {
    "images": write_images,
    "mp4": write_movies,
    "npy": write_arrays,
    "flo": write_flo_files,
    "gif": write_gifs,
    "webdataset": write_webdataset,
    "rawframes": write_rawframes,
    "imagefolder": write_image_folder,
    "hf": write_hugging_face,
}
SETS = ("webdataset", "rawframes", "imagefolder", "hf")  # whose files together are one data set
ONLY = {"flo": "flow", "imagefolder": "rgb"}  # formats of one modality


@dataclass(frozen=True)
class Exported:
    """What was exported; `status`: modality -> status -> videos listed, `not_ok`: rows of what failed or is partial."""

    location: str
    to: str
    num_videos: int
    num_files: int
    num_bytes: int
    status: dict[str, dict[str, int]]
    not_ok: tuple[LedgerRow, ...]


def export_shards(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    to: str,
    modalities: Sequence[str] | None = None,
    video_ids: Sequence[str] = (),
    on_progress: OnProgress | None = None,
) -> Exported:
    """Write stored videos in the format `to`, one of FORMATS, into the folder `out`.

    Args:
        path: a finished extraction, Parquet or LMDB, a folder or an address such as s3://bucket/folder.
        out: a folder that is new, empty, or of the same export before, whose files are then replaced; of a format in
            SETS also of the same videos, so that no file of others stays among them.
        modalities: `rgb`, `flow` or both; None for those that are stored and that the format has.
        video_ids: only these; all where there are none.
        on_progress: counts videos.

    Raises:
        InputError: no such format, extraction, modality or video, nothing to export, or another folder `out`.
        ShardError: a shard is damaged. StorageError: a file cannot be written.
    """
    if to not in FORMATS:
        raise InputError(f"{to!r} is no format to export to; known: {', '.join(FORMATS)}.", key="to")
    source = open_source(os.fspath(path), modalities=_modalities(to, modalities), video_ids=video_ids)
    _check(source, to)
    target = Target(Path(out), mark=_mark(source, to))
    for _ in reported(FORMATS[to](source, target), len(source.videos), on_progress):
        pass
    return Exported(
        location=str(out),
        to=to,
        num_videos=len(source.videos),
        num_files=target.num_files,
        num_bytes=target.num_bytes,
        status={
            modality: count_by_status([row for row in source.ledger if row.modality == modality])
            for modality in source.readers
        },
        not_ok=tuple(row for row in source.ledger if row.status != "ok"),
    )


def _mark(source: ExportSource, to: str) -> dict[str, object]:
    """Return what an export must have in common with the one before in its folder, to leave no file that is wrong."""
    parameters = {modality: dict(reader.info.parameters) for modality, reader in source.readers.items()}
    mark = {"from": source.location, "to": to, "parameters": parameters}
    return mark | {"num_videos": len(source.videos), "videos": source.digest()} if to in SETS else mark


def _modalities(to: str, given: Sequence[str] | None) -> Sequence[str] | None:
    """Return the modalities to read; raise InputError for one that the format does not have."""
    if to not in ONLY:
        return given
    if given and list(given) != [ONLY[to]]:
        raise InputError(f"{to} holds {ONLY[to]} only; leave the other modality out.", key="modality")
    return [ONLY[to]]


def _check(source: ExportSource, to: str) -> None:
    """Raise InputError where there is nothing to export, or where a format of one label a video meets several."""
    if not source.videos:
        raise InputError(f"{source.location} holds no stored video to export; see its ledger.", path=source.location)
    if to == "imagefolder":
        several = source.info.multi_label or any(len(video.labels) != 1 for video in source.videos)
        if several:
            raise InputError(
                "imagefolder has one class for each video, and these have several labels or none; "
                "export to webdataset or hf, which keep them all.",
                key="to",
            )
