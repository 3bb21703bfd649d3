"""Formats for whole data sets made of single images and lists: raw frames, and folders of classes.

Each function writes the source's videos one by one and yields after each.
"""

from __future__ import annotations

from collections.abc import Iterator

from tdn_data.pipeline.export.names import safe_names
from tdn_data.pipeline.export.source import ExportSource
from tdn_data.pipeline.export.target import Target
from tdn_data.pipeline.export.videos import write_images
from tdn_data.pipeline.shards.schema import PREFIXES


def write_rawframes(source: ExportSource, target: Target) -> Iterator[None]:
    """Write images as TSN and mmaction2 name them, a list `path num_frames label` per split and modality, and classes.

    NAME/img_00001.jpg, NAME/flow_x_00001.jpg, ...; frames_train.txt, flow_train.txt, ...; classes.txt. Paths count from
    the folder; a video of several labels has them all at the end of its line, as mmaction2's `multi_class` reads it.
    """
    yield from write_images(source, target)
    splits = source.split_names()
    for modality, reader in source.readers.items():
        for split, videos in source.by_split().items():
            lines = [
                " ".join(map(str, (source.names[one.video_id], reader.num_rows(one.video_id), *one.labels)))
                for one in videos
                if source.has(modality, one.video_id)
            ]
            target.write(f"{PREFIXES[modality]}_{splits[split]}.txt", "".join(f"{line}\n" for line in lines).encode())
    write_classes(source, target)


def write_image_folder(source: ExportSource, target: Target) -> Iterator[None]:
    """Write split/class/NAME_00001.jpg, ..., as torchvision's ImageFolder and Keras read it, and classes.txt."""
    splits, classes = source.split_names(), safe_names(source.info.class_names)
    for video in source.videos:
        (label,) = video.labels
        folder = f"{splits[video.split]}/{classes[source.info.class_names[label]]}"
        rows, ending = source.image_files("rgb", video.video_id)
        for number, content in enumerate(rows.payloads["image"], start=1):
            target.write(f"{folder}/{source.names[video.video_id]}_{number:05d}.{ending}", content)
        yield
    write_classes(source, target)


def write_classes(source: ExportSource, target: Target) -> None:
    """Write classes.txt, the name of class 0 first."""
    target.write("classes.txt", "".join(f"{name}\n" for name in source.info.class_names).encode())
