"""Every benchmark offers what the package says that it does."""

import importlib
import pkgutil
from dataclasses import fields, is_dataclass
from inspect import signature
from typing import get_type_hints

import av
import numpy as np
import pytest

import tdn_data.benchmarks as package

OTHERS = {"device", "stored_clips"}  # that run the benchmarks, or serve one
BENCHMARKS = {module.name for module in pkgutil.iter_modules(package.__path__)} - OTHERS


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_a_benchmark_runs_in_rounds_and_formats_what_it_returns(name):
    benchmark = importlib.import_module(f"tdn_data.benchmarks.{name}")
    times = get_type_hints(benchmark.run)["return"]
    assert signature(benchmark.run).parameters["num_rounds"].kind.name == "KEYWORD_ONLY"
    assert is_dataclass(times) and "versions" in {field.name for field in fields(times)}
    assert get_type_hints(benchmark.format_times) == {"result": times, "return": str}


def test_decoders_that_show_other_sizes_are_not_timed(tmp_path):
    path = tmp_path / "wide.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = 2
        for _ in range(10):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    benchmark = importlib.import_module("tdn_data.benchmarks.decode")
    with pytest.raises(ValueError, match="pyav shows 64 columns where ours shows 128, as players do"):
        benchmark.run(path, num_rounds=1)
