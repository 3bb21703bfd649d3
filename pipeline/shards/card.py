"""README.md beside Parquet shards: what Hugging Face `datasets` and the Hub's viewer take their columns for.

`datasets` believes the types in a Parquet schema's own metadata only of columns stored as struct<bytes, path>; the
shards' images are plain bytes, which every other program reads most easily. The types in a card count for these, too.
A card on which somebody wrote is theirs and is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import yaml

from tdn_data.pipeline.shards.schema import PAYLOADS, PREFIXES, SCHEMAS, Labelling
from tdn_data.pipeline.shards.seal import DIGEST_BYTES, digest

CARD_NAME = "README.md"
_TYPES = {pa.float64(): "float64", pa.float32(): "float32"}  # whose name in Arrow is another
_NOTE = "<!-- written by tdn-data, and written again while nobody else has written on it: "
_END = " -->\n"


def folder_card(labelling: Labelling, codecs: Mapping[str, str]) -> bytes:
    """Return the card of a folder that holds Parquet shards of the modalities of `codecs`."""
    kinds = [modality for modality in SCHEMAS if modality in codecs]
    configs = [
        {
            "config_name": PREFIXES[modality],
            "data_files": [{"split": "train", "path": f"{PREFIXES[modality]}-*.parquet"}],
        }
        for modality in kinds
    ]
    configs[0]["default"] = True
    infos = [
        {"config_name": PREFIXES[modality], "features": features(modality, labelling, codecs[modality])}
        for modality in kinds
    ]
    head = {
        "pretty_name": labelling.dataset,
        "task_categories": ["video-classification"],
        "configs": configs,
        "dataset_info": infos,
    }
    flow = "Flow is two grey images of levels 0 to 255; pixels per step are `level * 2 * bound / 255 - bound`.\n"
    text = (
        f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n\n# {labelling.dataset}\n\n"
        f"One row per frame or flow pair, {len(labelling.class_names)} classes. The column `split` has each video's "
        f"own split; `train` is what this reader calls all files. {flow if 'flow' in kinds else ''}\n"
    ).encode()
    return text + f"{_NOTE}{digest((text,))}{_END}".encode()


def is_ours(card: bytes) -> bool:
    """Whether a card is as `folder_card` wrote it, then or now."""
    text, note, rest = card.rpartition(_NOTE.encode())
    return bool(note) and rest == f"{digest((text,))}{_END}".encode() and len(rest) == 2 * DIGEST_BYTES + len(_END)


def features(modality: str, labelling: Labelling, codec: str) -> list[dict[str, object]]:
    """Return the columns of shards as a card names them: pictures are images unless they are bare pixels."""
    classes = {"class_label": {"names": {str(number): name for number, name in enumerate(labelling.class_names)}}}
    found: list[dict[str, object]] = []
    for field in SCHEMAS[modality]:
        if field.name == "labels":
            found.append({"name": field.name, "list": classes})
        elif field.name in PAYLOADS[modality]:
            found.append({"name": field.name, "dtype": "binary" if codec == "raw" else "image"})
        else:
            found.append({"name": field.name, "dtype": _TYPES.get(field.type, str(field.type))})
    return found
