"""Bytes flipped, bits flipped and files cut anywhere in a folder of shards: the right data, or a sentence.

Nothing may be read wrongly while `verify` finds nothing, and no other error may come out. A few hundred kinds of damage
here, more by TDN_DATA_DAMAGES; the folder is the stored one of schema 1, upgraded.
"""

import os
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tdn_data.pipeline.errors import InputError, PipelineError, ShardError
from tdn_data.pipeline.shards.ledger import DATASET_NAME, TABLE_NAMES
from tdn_data.pipeline.shards.reader import ShardReader
from tdn_data.pipeline.shards.repair import repair_folder
from tdn_data.pipeline.shards.status import extraction_status
from tdn_data.pipeline.shards.verify import verify_shards
from tdn_data.pipeline.view.inspect import contact_sheet, inspect_shards

NUM_DAMAGES = int(os.environ.get("TDN_DATA_DAMAGES", "60"))  # in each format and kind of file
SMALL_FILES = (DATASET_NAME, *TABLE_NAMES)


@pytest.fixture(scope="module", params=["parquet", "lmdb"])
def folder(request, tmp_path_factory):
    root = tmp_path_factory.mktemp("damage")
    with zipfile.ZipFile(Path(__file__).with_name("schema1.zip")) as archive:
        archive.extractall(root, [name for name in archive.namelist() if name.startswith(request.param)])
    repair_folder(root / request.param)
    return root / request.param


def damaged(content, generator):
    """Return content with one byte or one bit changed, a run of zeros, or its end missing."""
    data, place = bytearray(content), generator.randrange(len(content))
    kind = generator.choice(("byte", "bit", "bit", "zeros", "cut"))
    if kind == "byte":
        data[place] ^= generator.randrange(1, 256)
    elif kind == "bit":
        data[place] ^= 1 << generator.randrange(8)
    elif kind == "zeros":
        data[place : place + 16] = bytes(len(data[place : place + 16]))
    else:
        del data[place:]
    return bytes(data)


def everything(folder):
    """Return all that a reader gives: pictures, times, labels, splits, classes, and what is missing."""
    found = []
    for modality in ("rgb", "flow"):
        reader = ShardReader(folder, modality=modality, list_split=2)
        found += [reader.info, reader.videos, reader.missing("train")]
        for video in reader.videos:
            stored = reader.read(video.video_id)
            found += [stored.data.tobytes(), stored.pts_seconds.tobytes(), stored.bound]
            found.append(reader.times(video.video_id).tobytes())
    return found


def outcome(function, *arguments):
    """Return what a function gives, or the sentence with which it refuses; any other error fails the test."""
    try:
        return function(*arguments), None
    except PipelineError as error:
        assert error.message and "Traceback" not in error.message
        return None, error.message


def check_damage(folder, right):
    """Check that a damaged folder gives right data or sentences, and that `verify` finds what cannot be read."""
    found, sentence = outcome(everything, folder)
    assert found is None or found == right["everything"]
    findings = verify_shards(folder).findings
    if sentence is not None:
        assert findings, sentence
    status, _ = outcome(extraction_status, folder)
    assert status == right["status"] or not status.finished or findings
    inspection, _ = outcome(inspect_shards, folder)
    assert inspection is None or inspection == right["inspection"]
    return findings


def test_damage_is_read_rightly_or_said(folder):
    right = {
        "everything": everything(folder),
        "status": extraction_status(folder),
        "inspection": inspect_shards(folder),
    }
    sheet = contact_sheet(folder, num_videos=2, thumbnail=32)
    generator, num_found = random.Random(11), 0
    shards = [path for path in sorted(folder.glob("*-of-*")) if path.name.split("-")[1] in ("00000", "00001", "00003")]
    for group in ([folder / name for name in SMALL_FILES], shards):
        for number in range(NUM_DAMAGES):
            path = generator.choice(group)
            content = path.read_bytes()
            changed = damaged(content, generator)
            path.unlink()  # a new file: an open map of the old one stays whole
            path.write_bytes(changed)
            num_found += bool(check_damage(folder, right))
            if number % 10 == 0:
                picture, _ = outcome(contact_sheet, folder)
                assert picture is None or picture.shape[1] >= sheet.shape[1]
            path.unlink()
            path.write_bytes(content)
    assert num_found > NUM_DAMAGES
    assert everything(folder) == right["everything"]


@pytest.mark.parametrize("name", SMALL_FILES)
@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"null", b'"x"', b"[" * 100_000, b"\xff\xfe", b"PAR1" * 20])
def test_a_small_file_of_anything_else_is_named_and_repaired(folder, name, content):
    right, whole = everything(folder), (folder / name).read_bytes()
    (folder / name).write_bytes(content)
    with pytest.raises((ShardError, InputError), match=name.replace(".", r"\.")):
        everything(folder)
    assert not extraction_status(folder).finished
    assert name in {finding.shard for finding in verify_shards(folder).findings}
    assert repair_folder(folder).written == (name,)
    assert (folder / name).read_bytes() == whole and everything(folder) == right


@pytest.mark.parametrize("name", SMALL_FILES)
def test_a_missing_small_file_is_named_and_repaired(folder, name):
    whole = (folder / name).read_bytes()
    (folder / name).unlink()
    with pytest.raises((ShardError, InputError), match=name.replace(".", r"\.")):
        everything(folder)
    assert not extraction_status(folder).finished
    assert repair_folder(folder).written == (name,)
    assert (folder / name).read_bytes() == whole


def test_a_shard_that_is_damaged_or_missing_is_named_by_status_and_repair(folder):
    path = sorted(folder.glob("flow-00003*"))[0]
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    for findings in (extraction_status(folder).findings, repair_folder(folder).findings):
        assert {finding.shard for finding in findings} == {path.name}
    path.unlink()
    assert not extraction_status(folder).finished
    assert [(one.shard, one.what) for one in repair_folder(folder).findings] == [(path.name, "is missing")]
    path.write_bytes(content)
    assert extraction_status(folder).finished and repair_folder(folder).written == ()


def test_what_is_not_finished_before_a_page_too_little_is_not_read(folder):
    """One page short: LMDB's map would end the process there, Parquet's footer would be gone."""
    path = sorted(folder.glob("frames-00003*"))[0]
    content = path.read_bytes()
    for short in (1, 4096, 8192):
        path.unlink()
        path.write_bytes(content[:-short])
        with pytest.raises(ShardError, match=path.name):
            everything(folder)
    path.unlink()
    path.write_bytes(content)


def test_one_page_short_in_an_old_lmdb_file_is_found(tmp_path):
    with zipfile.ZipFile(Path(__file__).with_name("schema1.zip")) as archive:
        archive.extractall(tmp_path, [name for name in archive.namelist() if name.startswith("lmdb")])
    path = sorted((tmp_path / "lmdb").glob("frames-00003*"))[0]
    content = path.read_bytes()
    path.write_bytes(content[:-4096])
    with pytest.raises(ShardError, match=f"{path.name} has {len(content) - 4096} bytes; expected {len(content)}"):
        everything(tmp_path / "lmdb")
    assert np.asarray(verify_shards(tmp_path / "lmdb").findings, object).size
