"""A small set of shards with names that mean harm, one evaluated run, and the page over both."""

import http.client
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tdn_data.pipeline.datasets.index import index_dataset
from tdn_data.pipeline.extraction.engine import run_extraction
from tdn_data.pipeline.parameters import ExtractParameters, FlowParameters, FrameParameters
from tdn_data.pipeline.view.browse.serve import OpenSite, open_site

HOSTILE = 'videos/<script>alert(1)<_ "quoted" \N{GRINNING FACE}'


@pytest.fixture(scope="session")
def browsed_shards(clip_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames and flow of `clip_folder` and of a clip whose name is a script; two of its videos failed."""
    root = tmp_path_factory.mktemp("browse")
    shutil.copytree(clip_folder, root / "clips")
    shutil.copy(clip_folder / "videos/clip 01.mp4", root / f"clips/{HOSTILE}.mp4")
    name = HOSTILE.replace('"', '""')
    with (root / "clips/videos.csv").open("a") as file:
        file.write(f'"{name}.mp4",test,left\n')
    parameters = ExtractParameters(frames=FrameParameters(), flow=FlowParameters(bound=5))
    run_extraction(index_dataset("folder", root / "clips"), parameters, out=root / "shards", num_workers=2)
    return root / "shards"


@pytest.fixture(scope="session")
def evaluated_run(browsed_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs with one, which takes every test video for `left`."""
    runs = tmp_path_factory.mktemp("runs")
    index = pq.read_table(browsed_shards / "index.parquet").to_pylist()
    tested = [row for row in index if row["modality"] == "rgb" and row["split"] == "test"]
    (runs / "tiny").mkdir()
    (runs / "tiny/metrics.json").write_text(json.dumps({"top1": 0.5, "num_videos": len(tested)}))
    record = {"dataset": "folder", "class_names": ["left", "right"], "network": "tsn", "modality": "rgb"}
    (runs / "tiny/evaluation.json").write_text(json.dumps(record))
    columns = {name: [row[name] for row in tested] for name in ("video_id", "labels")}
    scores = pa.array([[2.0, 0.5]] * len(tested), pa.list_(pa.float32()))
    pq.write_table(pa.table({**columns, "scores": scores}), runs / "tiny/scores.parquet")
    return runs


@contextmanager
def answering(path: str, **options: object) -> Iterator[OpenSite]:
    """The page over a path, answering on a free port."""
    opened = open_site(path, port=0, **options)
    thread = threading.Thread(target=opened.serve, daemon=True)
    thread.start()
    yield opened
    opened.stop()
    thread.join(20)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def browser():
    """Chromium, without a window."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium is installed (apt-get install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def site(browsed_shards: Path, evaluated_run: Path) -> Iterator[OpenSite]:
    """The page, answering on a free port."""
    with answering(str(browsed_shards), runs=[evaluated_run]) as opened:
        yield opened


def ask(site, path, *, method="GET", host=None):
    """Return (status, headers, body) of one request."""
    address = urlsplit(site.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    connection.request(method, path, headers={"Host": host or address.netloc})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, answer.headers, body
