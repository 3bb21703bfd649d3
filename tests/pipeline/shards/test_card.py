"""The card beside Parquet shards: the types of their columns, and whose card it is."""

import json
import os
import subprocess
import sys

import pytest
import yaml

from tdn_data.pipeline.shards.card import CARD_NAME, features, folder_card, is_ours
from tdn_data.pipeline.shards.repair import repair_folder
from tdn_data.pipeline.shards.schema import SCHEMAS, Labelling

SMALL = Labelling("small", ("cook", "no"), False)  # a name that is no text in plain YAML


def test_every_column_has_its_type_and_pictures_are_images_unless_they_are_bare_pixels():
    for modality, schema in SCHEMAS.items():
        found = {one["name"]: one for one in features(modality, SMALL, "jpeg")}
        assert list(found) == schema.names
        assert found["labels"]["list"] == {"class_label": {"names": {"0": "cook", "1": "no"}}}
        assert found["pts_seconds"]["dtype"] == "float64"
    assert {one["name"]: one.get("dtype") for one in features("flow", SMALL, "png")}["flow_y"] == "image"
    assert {one["name"]: one.get("dtype") for one in features("rgb", SMALL, "raw")}["image"] == "binary"


def test_a_folder_has_its_card_unless_somebody_else_wrote_one(write_small_shards, tmp_path):
    card = write_small_shards(tmp_path) / CARD_NAME
    written = card.read_bytes()
    head = yaml.safe_load(written.split(b"---\n")[1])
    assert [one["config_name"] for one in head["configs"]] == ["frames", "flow"] and is_ours(written)
    card.write_bytes(folder_card(SMALL, {"rgb": "raw"}))  # one of another time
    repair_folder(tmp_path)
    assert card.read_bytes() == written
    card.write_bytes(written.replace(b"# small", b"# My own"))
    repair_folder(tmp_path)
    assert b"# My own" in card.read_bytes() and not is_ours(card.read_bytes())


def test_lmdb_shards_have_no_card(write_small_shards, tmp_path):
    assert not (write_small_shards(tmp_path, "lmdb") / CARD_NAME).exists()


def test_datasets_opens_a_folder_as_images_and_classes(small_shards, tmp_path):
    pytest.importorskip("datasets", reason="Hugging Face datasets is not installed (make test-readers)")
    script = """
import json, sys
from datasets import load_dataset
found = {}
for name in ("frames", "flow"):
    rows = load_dataset(sys.argv[1], name, split="train")
    pictures = [key for key, kind in rows.features.items() if "Image" in str(kind)]
    found[name] = [str(rows.features), len(rows), [rows[0][key].size for key in pictures]]
print(json.dumps(found))
"""
    caches = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", script, str(small_shards)], env=os.environ | caches,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found["frames"][1:] == [9, [[24, 16]]] and found["flow"][1:] == [6, [[24, 16], [24, 16]]]
    assert "ClassLabel(names=['cook', 'jump it'])" in found["frames"][0]
