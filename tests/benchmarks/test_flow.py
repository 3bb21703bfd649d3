"""The flow benchmark runs, checks parity and prints what it found."""

import json
from dataclasses import asdict

import cv2
import numpy as np
import pytest

from tdn_data.benchmarks import flow as benchmark
from tdn_data.pipeline.errors import InputError


def test_a_rendered_pair_is_timed_and_compared():
    result = benchmark.run(height=48, width=64, num_rounds=1)
    (pair,) = result.pairs
    assert pair.mean_difference <= 0.02
    assert pair.equal_bytes >= 0.97
    assert pair.opencv_seconds > 0
    assert pair.our_seconds > 0
    assert result.pairs_per_second == pytest.approx(1 / pair.our_seconds)
    assert json.loads(json.dumps(asdict(result)))["versions"]["opencv"] == cv2.__version__
    table = benchmark.format_times(result)
    assert "rendered" in table
    assert "bytes equal" in table


def test_image_files_make_pairs(tmp_path):
    names = []
    for number, image in enumerate(benchmark.rendered_pair(40, 50)):
        names.append(tmp_path / f"{number}.png")
        cv2.imwrite(str(names[-1]), image)
    result = benchmark.run(names, height=40, width=50, num_rounds=1, num_warps=1)
    assert [pair.name for pair in result.pairs] == ["0.png"]
    with pytest.raises(InputError, match="1 image files"):
        benchmark.run(names[:1])
    (tmp_path / "0.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match="no image"):
        benchmark.run(names)


def test_threads_of_opencv_are_as_they_were():
    before = cv2.getNumThreads()
    benchmark.run(height=24, width=24, num_rounds=1)
    assert cv2.getNumThreads() == before


def test_rendered_pair_is_the_same_every_time():
    for first, second in zip(benchmark.rendered_pair(32, 48), benchmark.rendered_pair(32, 48), strict=True):
        assert np.array_equal(first, second)
