"""What counts as the code that made a row, and what does not."""

import shutil
from pathlib import Path

import pytest

from tdn_data import pipeline
from tdn_data.pipeline.extraction.versions import (
    LIBRARIES,
    RowVersions,
    code_digest,
    row_modules,
    row_versions,
    version_changes,
)

PACKAGE = Path(pipeline.__file__).parent


@pytest.fixture
def package(tmp_path):
    """A copy of the package that a test may change."""
    return Path(shutil.copytree(PACKAGE, tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__")))


def digests(package):
    return {modality: code_digest(modality, package) for modality in ("rgb", "flow")}


def named(modules):
    return {f"tdn_data.pipeline.{name}" for name in modules}


def test_all_that_decodes_computes_and_encodes_is_found():
    frames, flow = row_modules("rgb"), row_modules("flow")
    both = {"images", "sampling", "video.convert", "video.decoder", "video.timeline", "extraction.rows.video"}
    assert named(both | {"shards.schema"}) <= set(frames) & set(flow)
    assert named({"flow.kernels_cpu", "flow.kernels_triton", "flow.quantize"}) <= set(flow)
    assert not any(name.startswith("tdn_data.pipeline.flow") for name in frames)
    assert not named({"extraction.engine", "shards.storage", "flow.color"}) & set(flow)


def test_comments_docstrings_and_formatting_are_no_code(package):
    before = digests(package)
    assert before == digests(PACKAGE)
    for path in row_modules("flow", package).values():
        text = path.read_text()
        first = text.index('"""')
        path.write_text("# new\n" + text[: first + 3] + "Other words. " + text[first + 3 :].replace("\n\n", "\n \n\n"))
    assert digests(package) == before


@pytest.mark.parametrize(
    ("name", "old", "new", "changed"),
    [
        ("video/convert.py", "import av\n", "import av\n\nINVERTED = True\n", {"rgb", "flow"}),
        ("images.py", "import cv2\n", "import cv2\n\nQUALITY = 1\n", {"rgb", "flow"}),
        ("flow/quantize.py", "import numpy as np\n", "import numpy as np\n\nHALF = 0.25\n", {"flow"}),
        ("shards/storage.py", "import os\n", "import os\n\nOTHER = 1\n", set()),
    ],
)
def test_a_line_of_code_changes_the_modalities_that_it_serves(package, name, old, new, changed):
    before = digests(package)
    path = package / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    after = digests(package)
    assert {modality for modality in before if before[modality] != after[modality]} == changed


def test_a_new_module_counts_as_soon_as_it_is_imported(package):
    before = digests(package)
    (package / "video/gamma.py").write_text("GAMMA = 2.2\n")
    assert digests(package) == before
    convert = package / "video/convert.py"
    convert.write_text(convert.read_text() + "\n\ndef _later():\n    from tdn_data.pipeline.video import gamma\n")
    one = digests(package)
    (package / "video/gamma.py").write_text("GAMMA = 1.8\n")
    assert len({one["rgb"], before["rgb"], digests(package)["rgb"]}) == 3


def test_what_differs_is_said():
    now = RowVersions("a", {"av": "18", "numpy": "2"})
    assert version_changes(now.as_dict(), now) == ""
    assert version_changes({"code": "b", "libraries": {"av": "17", "numpy": "2"}}, now) == "the code, av 17 -> 18"
    assert version_changes(None, now) == "made before versions were kept"
    assert now.digest != RowVersions("a", {"av": "17", "numpy": "2"}).digest


def test_the_libraries_that_decode_compute_and_encode_are_named():
    assert {*LIBRARIES["flow"], "libavcodec", "libswscale"} <= set(row_versions("flow").libraries)
    assert "numba" not in row_versions("rgb").libraries
