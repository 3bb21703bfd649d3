"""A long video in spans gives the bytes that the whole video gives, on any number of workers, interrupted or not."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tdn_data.pipeline.datasets.index import index_dataset
from tdn_data.pipeline.datasets.manifest import VideoRecord
from tdn_data.pipeline.errors import VideoError
from tdn_data.pipeline.extraction import engine, spans, wire, workers
from tdn_data.pipeline.extraction.engine import run_extraction
from tdn_data.pipeline.extraction.one_shard import extract_video
from tdn_data.pipeline.extraction.rows.job import Extraction, VideoJob
from tdn_data.pipeline.extraction.spans import SPANS_FOLDER, SpanFiles, joined, spans_of
from tdn_data.pipeline.limits import MAX_FRAMES
from tdn_data.pipeline.parameters import ExtractParameters, FlowParameters, FrameParameters
from tdn_data.pipeline.shards.schema import VideoRows
from tdn_data.pipeline.shards.storage import Storage

SIZE = {"height": 48, "width": 64}
PARAMETERS = ExtractParameters(frames=FrameParameters(**SIZE), flow=FlowParameters(**SIZE))
RECORD = VideoRecord("a", "a.mp4", "train", (0,), fingerprint="f", fps=25.0, duration_seconds=100.0)


def run(root, out, parameters=PARAMETERS, **options):
    return run_extraction(index_dataset("folder", root), parameters, out=out, num_workers=2, **options)


def hashes(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def short_spans(monkeypatch):
    """Every video is long: spans of four rows."""
    monkeypatch.setattr(spans, "LONG_BYTES", 0)
    monkeypatch.setattr(engine, "SPAN_ROWS", {"rgb": 4, "flow": 4})


def test_only_a_long_video_has_spans_and_the_last_one_is_open():
    assert spans_of(RECORD, FrameParameters(), span_rows=1000) == ((0, 1000), (1000, 2000), (2000, MAX_FRAMES))
    assert spans_of(RECORD, FrameParameters(), span_rows=2500) == ()
    assert spans_of(RECORD, FrameParameters(every_seconds=3), span_rows=30) == ((0, 30), (30, MAX_FRAMES))
    assert spans_of(RECORD, FlowParameters(fps=5), span_rows=400) == ((0, 400), (400, MAX_FRAMES))
    assert spans_of(RECORD, FrameParameters(max_seconds=60), span_rows=10) == ()
    assert spans_of(replace(RECORD, duration_seconds=None), FrameParameters(), span_rows=10) == ()


@pytest.mark.parametrize("file_format", ["parquet", "lmdb"])
def test_spans_give_the_bytes_of_whole_videos(clip_folder, short_spans, monkeypatch, tmp_path, file_format):
    """Broken, cut and foreign files among them."""
    parameters, progress = PARAMETERS.model_copy(update={"format": file_format}), []
    run(clip_folder, tmp_path / "spans", parameters, on_progress=lambda *now: progress.append(now))
    assert progress[-1][:2] == (12, 12)
    assert any(re.fullmatch(r"(\d failed, )?\d+ of [2-9]\d spans of long videos", note) for _, _, note in progress)
    monkeypatch.setattr(engine, "SPAN_ROWS", {"rgb": 10**6, "flow": 10**6})
    run(clip_folder, tmp_path / "whole", parameters)
    assert hashes(tmp_path / "spans") == hashes(tmp_path / "whole")
    assert not (tmp_path / "spans" / SPANS_FOLDER).exists()


def test_spans_of_an_interrupted_run_are_not_made_again(clip_folder, short_spans, monkeypatch, tmp_path):
    made = []
    write = workers._Crew._take_span

    def interrupted(crew, work, is_there):
        write(crew, work, is_there)
        made.append(work)
        if len(made) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(workers._Crew, "_take_span", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(clip_folder, tmp_path / "out")
    kept = set(hashes(tmp_path / "out" / SPANS_FOLDER))
    monkeypatch.setattr(workers._Crew, "_take_span", write)
    run(clip_folder, tmp_path / "out")
    monkeypatch.setattr(engine, "SPAN_ROWS", {"rgb": 10**6, "flow": 10**6})
    run(clip_folder, tmp_path / "whole")
    assert len(kept) >= 5 and hashes(tmp_path / "out") == hashes(tmp_path / "whole")


def part(start, count, *, problem=None, height=24):
    index = np.arange(start, start + count)
    rows = VideoRows("rgb", index, index / 25, height, 32, {"image": [bytes([place % 256]) for place in index]})
    return Extraction(rows, count, problem, "sparse", None)


def test_parts_are_joined_in_order_and_those_that_do_not_fit_are_not():
    whole = joined([part(0, 3), part(3, 3), part(6, 0)])
    assert whole.rows.frame_index.tolist() == [0, 1, 2, 3, 4, 5] and whole.num_expected == 6
    assert whole.rows.payloads["image"] == [bytes([place]) for place in range(6)]
    cut = VideoError("truncated", "6 of 9 frames, the file is cut off")
    assert joined([part(0, 3, problem=cut), part(3, 3, problem=cut)]).problem is cut
    assert joined([part(0, 3, problem=cut), part(3, 3)]) is None
    assert joined([part(0, 3), part(3, 3, height=48)]) is None
    assert joined([part(0, 0), part(3, 0)]) is None


def test_a_damaged_or_missing_file_of_a_span_makes_the_video_whole(tmp_path):
    files = SpanFiles(Storage(tmp_path), "code")
    raw = VideoJob("a.mp4", "rgb", FrameParameters(height=16, width=16, codec="raw"), 1 << 20)
    rows = VideoRows("rgb", np.arange(2), np.arange(2) / 25, 16, 16, {"image": [bytes(768), bytes(768)]})
    spans = [(0, 2), (2, MAX_FRAMES)]
    for span in spans:
        files.write(RECORD, span, Extraction(rows, 2, None, "sparse", None))
    assert len(files.read(RECORD, spans, raw).rows) == 4
    assert files.missing(RECORD, spans, Storage(tmp_path).names()) == []
    path = tmp_path / files.name(RECORD, spans[1])
    path.write_bytes(path.read_bytes()[:-20] + bytes(20))
    assert files.read(RECORD, spans, raw) is None
    path.unlink()
    assert files.read(RECORD, spans, raw) is None
    assert files.missing(RECORD, spans, Storage(tmp_path).names()) == [spans[1]]
    assert SpanFiles(Storage(tmp_path), "other code").missing(RECORD, spans, Storage(tmp_path).names()) == spans


@pytest.mark.parametrize("name", ["h264.mp4", "hevc.mkv", "mpeg4.avi", "vp9.webm"])
@pytest.mark.parametrize("rate", [{}, {"fps": 4}])
def test_spans_of_each_codec_are_pieces_of_the_whole(name, rate):
    path = str(Path(__file__).parent / "clips" / name)
    for modality, section in (("rgb", FrameParameters(**SIZE, **rate)), ("flow", FlowParameters(**SIZE, **rate))):
        job = VideoJob(path, modality, section, 1 << 24)
        whole = extract_video(job)
        parts = [extract_video(replace(job, span=span)) for span in ((0, 3), (3, 6), (6, MAX_FRAMES))]
        assert len(parts[0].rows) == 3
        assert b"".join(wire.pack(joined(parts))) == b"".join(wire.pack(whole))
