"""Same input, same bytes, on every processor: SHA-256 of what a few clips become, compared wherever the tests run.

`payloads.json` was made with AVX-512 and is what AVX2 gives too: the second test computes it as such a machine does.
A change that is meant to change bytes recreates the file: python tests/pipeline/extraction/test_payloads.py
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from tdn_data.pipeline.datasets.demo import render_clip
from tdn_data.pipeline.extraction.one_shard import extract_video
from tdn_data.pipeline.extraction.rows.job import VideoJob
from tdn_data.pipeline.parameters import FlowParameters, FrameParameters
from tdn_data.pipeline.video import sample_frames, write_video

CLIPS = Path(__file__).with_name("clips")
EXPECTED = Path(__file__).with_name("payloads.json")
SMALL = {"height": 56, "width": 72}  # neither the clips' size nor their shape
SECTIONS = {
    "frames as stored, png": ("rgb", FrameParameters(codec="png")),
    "frames resized, jpeg": ("rgb", FrameParameters(**SMALL, codec="jpeg", quality=90)),
    "flow resized, jpeg": ("flow", FlowParameters(**SMALL, bound=5, codec="jpeg")),
    "flow as stored, png": ("flow", FlowParameters(bound=5, codec="png")),
}


def digest(*parts: bytes | np.ndarray) -> str:
    sums = hashlib.sha256()
    for part in parts:
        sums.update(np.ascontiguousarray(part).tobytes() if isinstance(part, np.ndarray) else part)
    return sums.hexdigest()


def extracted(path: Path) -> dict[str, str]:
    """Return the digests of a file's pictures and of the rows that it becomes."""
    batch = sample_frames(path)
    found = {"decoded": digest(batch.data, batch.pts_seconds)}
    for name, (modality, section) in SECTIONS.items():
        rows = extract_video(VideoJob(str(path), modality, section, 2**24)).rows
        found[name] = digest(*(row for column in sorted(rows.payloads) for row in rows.payloads[column]))
    return found


def payloads() -> dict[str, dict[str, str]]:
    """Return all digests: of stored clips, of a rendered one, and of that one encoded here."""
    found = {path.name: extracted(path) for path in sorted(CLIPS.iterdir())}
    clip = render_clip("shrink", seed=[5, 1], num_frames=8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rendered.mp4"
        write_video(path, clip.frames, fps=10)
        found["rendered"] = {"pictures": digest(clip.frames), "exact flow": digest(clip.flow)} | extracted(path)
    return found


def test_a_few_clips_give_the_committed_bytes():
    assert payloads() == json.loads(EXPECTED.read_text())


def test_they_are_the_same_as_an_avx2_machine_computes_them(avx2_variables):
    environment = os.environ | avx2_variables
    done = subprocess.run([sys.executable, __file__, "check"], env=environment, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()


if __name__ == "__main__":
    if sys.argv[1:] == ["check"]:
        sys.exit(payloads() != json.loads(EXPECTED.read_text()))
    EXPECTED.write_text(json.dumps(payloads(), indent=1) + "\n")
