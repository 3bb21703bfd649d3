"""Hugging Face: a folder that `datasets.load_dataset` opens and that can be pushed to the Hub as it is.

README.md (the card), data/frames/train-00000-of-00002.parquet, data/flow/...: one row per frame or flow pair, images
typed as images by the metadata of the Parquet schema.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from tdn_data.pipeline.export.source import ExportSource
from tdn_data.pipeline.export.target import Target
from tdn_data.pipeline.shards.reader import StoredVideo
from tdn_data.pipeline.shards.schema import PAYLOADS, PREFIXES

SHARD_BYTES = 1 << 29
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_VALUES = {"video_id": pa.string(), "frame_index": pa.int64(), "pts_seconds": pa.float64()}


def write_hugging_face(source: ExportSource, target: Target) -> Iterator[None]:
    """Write Parquet files of about 512 MiB, a configuration for each modality, and the card; yield after each video."""
    schemas = {modality: _schema(source, modality) for modality in source.readers}
    for split, name in source.split_names().items():
        groups = source.groups(split, SHARD_BYTES)
        for number, group in enumerate(groups):
            with contextlib.ExitStack() as files:
                writers = {}
                for modality, schema in schemas.items():
                    file = f"data/{PREFIXES[modality]}/{name}-{number:05d}-of-{len(groups):05d}.parquet"
                    scratch = files.enter_context(target.place(file))
                    writers[modality] = files.enter_context(pq.ParquetWriter(scratch, schema, write_page_index=True))
                for video in group:
                    for modality, writer in writers.items():
                        if source.has(modality, video.video_id):
                            writer.write_table(_table(source, video, modality, schemas[modality]))
                    yield
    target.write("README.md", _card(source).encode())


def _schema(source: ExportSource, modality: str) -> pa.Schema:
    """Return the columns, and in their metadata what `datasets` takes them for."""
    classes = {"names": list(source.info.class_names), "_type": "ClassLabel"}
    label = ("labels", pa.list_(pa.int64())) if source.info.multi_label else ("label", pa.int64())
    features = {
        name: {"dtype": str(kind).replace("double", "float64"), "_type": "Value"} for name, kind in _VALUES.items()
    }
    features[label[0]] = {"feature": classes, "_type": "List"} if source.info.multi_label else classes
    features |= {name: {"_type": "Image"} for name in PAYLOADS[modality]}
    if modality == "flow":
        features["bound"] = {"dtype": "float32", "_type": "Value"}
    bound = [("bound", pa.float32())] if modality == "flow" else []
    schema = pa.schema([*_VALUES.items(), label, *((name, _IMAGE) for name in PAYLOADS[modality]), *bound])
    return schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def _table(source: ExportSource, video: StoredVideo, modality: str, schema: pa.Schema) -> pa.Table:
    rows, ending = source.image_files(modality, video.video_id)
    count, name = len(rows), source.names[video.video_id]
    single = video.labels[0] if video.labels else None
    columns = {
        "video_id": [video.video_id] * count,
        "frame_index": rows.frame_index,
        "pts_seconds": rows.pts_seconds,
        "label": [single] * count,
        "labels": [list(video.labels)] * count,
        "bound": [rows.bound] * count,
    }
    for column in PAYLOADS[modality]:
        columns[column] = [
            {"bytes": content, "path": f"{name}_{column}_{number:05d}.{ending}"}
            for number, content in enumerate(rows.payloads[column], start=1)
        ]
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def _card(source: ExportSource) -> str:
    """Return README.md: configurations and splits for the machine, and what the data are for people."""
    splits = source.split_names()
    configs = [
        {
            "config_name": PREFIXES[modality],
            "data_files": [
                {"split": name, "path": f"data/{PREFIXES[modality]}/{name}-*.parquet"} for name in splits.values()
            ],
        }
        for modality in source.readers
    ]
    configs[0]["default"] = True
    head = {"pretty_name": source.info.name, "task_categories": ["video-classification"], "configs": configs}
    counts = "\n".join(f"| {splits[split]} | {len(videos)} |" for split, videos in source.by_split().items())
    has_flow = "flow" in source.readers
    flow = "Flow is two grey images of levels 0 to 255; pixels per step are `level * 2 * bound / 255 - bound`."
    return (
        f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n\n# {source.info.name}\n\n"
        f"One row per frame{' or flow pair' if has_flow else ''}, {len(source.info.class_names)} classes, "
        f"exported from shards of tdn-data. {flow if has_flow else ''}\n\n"
        f"| split | videos |\n|---|---|\n{counts}\n"
    )
