"""WebDataset: tar files of a split each, one sample a video.

NAME.img_00001.jpg, NAME.flow_x_00001.jpg, ..., NAME.cls (single-label sets), NAME.json: identifier, labels, times.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator

from tdn_data.pipeline.export.sets import write_classes
from tdn_data.pipeline.export.source import ExportSource
from tdn_data.pipeline.export.target import Target
from tdn_data.pipeline.shards.reader import StoredVideo
from tdn_data.pipeline.shards.schema import PREFIXES

SHARD_BYTES = 1 << 28


def write_webdataset(source: ExportSource, target: Target) -> Iterator[None]:
    """Write train-000000.tar, ... of about 256 MiB and classes.txt; yield after each video."""
    for split, name in source.split_names().items():
        for number, group in enumerate(source.groups(split, SHARD_BYTES)):
            with target.place(f"{name}-{number:06d}.tar") as scratch, tarfile.open(scratch, "w") as tar:
                for video in group:
                    for ending, content in _sample(source, video):
                        entry = tarfile.TarInfo(f"{source.names[video.video_id]}.{ending}")
                        entry.size = len(content)
                        tar.addfile(entry, io.BytesIO(content))
                    yield
    write_classes(source, target)


def _sample(source: ExportSource, video: StoredVideo) -> Iterator[tuple[str, bytes]]:
    """Yield (ending, content) of a video's entries."""
    yield from source.numbered_files(video.video_id)
    if not source.info.multi_label and video.labels:
        yield "cls", str(video.labels[0]).encode()
    about = {"video_id": video.video_id, "split": video.split, "labels": list(video.labels)}
    about["classes"] = [source.info.class_names[label] for label in video.labels]
    for modality, reader in source.readers.items():
        if source.has(modality, video.video_id):
            about[f"{PREFIXES[modality]}_seconds"] = reader.times(video.video_id).tolist()
    yield "json", json.dumps(about).encode()
