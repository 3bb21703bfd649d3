"""Small shards that are made without decoding a video, and a store like S3 on loopback."""

import threading
from contextlib import contextmanager

import numpy as np
import pytest

from tdn_data.pipeline.images import encode_image
from tdn_data.pipeline.shards.schema import PAYLOADS, SCHEMA_VERSION, LedgerRow, VideoRows, shard_name
from tdn_data.pipeline.shards.shard_folder import gather, shard_names, write_folder
from tdn_data.pipeline.shards.shard_formats import shard_writer
from tdn_data.pipeline.shards.storage import Storage

VIDEOS = {"a/1.x": ("train", "cook"), "a_1_x": ("train", "jump it"), "b 2": ("val-1", "cook")}  # video -> split, class
COUNTS = {"rgb": 3, "flow": 2}


def rows_of(modality, seed):
    count, rng = COUNTS[modality], np.random.default_rng(seed)
    shape = (16, 24, 3) if modality == "rgb" else (16, 24)
    payloads = {
        name: [encode_image(rng.integers(0, 256, shape, np.uint8), codec="jpeg") for _ in range(count)]
        for name in PAYLOADS[modality]
    }
    times = np.arange(count) / 5
    after, bound = (times + 0.2, 20.0) if modality == "flow" else (None, None)
    return VideoRows(modality, np.arange(count), times, 16, 24, payloads, after, bound)


def write_shards(folder, extension="parquet", multi_label=False):
    """One shard of each modality, and a video that failed."""
    for modality in COUNTS:
        name, ledger = shard_name(modality, 0, 1, extension), []
        writer = shard_writer(folder / name, modality=modality, extension=extension)
        for seed, (video_id, (split, label)) in enumerate(VIDEOS.items()):
            rows, labels = rows_of(modality, seed), (("cook", "jump it").index(label),)
            writer.add(rows, video_id=video_id, split=split, labels=labels)
            stored = {"num_stored": len(rows), "stored_bytes": rows.num_bytes(), "shard": name}
            ledger.append(LedgerRow(video_id, modality, "p", split, labels, "ok", **stored))
        ledger.append(LedgerRow("lost", modality, "lost.mp4", "train", (0,), "failed", "missing", "not there"))
        about = {
            "schema_version": SCHEMA_VERSION, "dataset": "small", "multi_label": multi_label,
            "class_names": ["cook", "jump it"], "modality": modality, "parameters": {"codec": "jpeg"},
            "parameters_digest": "", "plan_digest": "",
        }  # fmt: skip
        writer.close(about, ledger)
    storage = Storage(folder)
    write_folder(storage, gather(storage, shard_names(storage)))
    return folder


@contextmanager
def s3_server(application=None):
    """Serve S3 (moto's, or `application`); give a bucket's address as a format string of the folder."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from pyarrow import fs
    from werkzeug.serving import make_server

    application = application or DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    host = f"127.0.0.1:{server.server_port}"
    s3 = fs.S3FileSystem(
        access_key="k", secret_key="s", endpoint_override=host, scheme="http", allow_bucket_creation=True
    )
    s3.create_dir("videos")
    yield f"s3://k:s@videos/{{}}?scheme=http&endpoint_override={host}&region=us-east-1"
    server.shutdown()
    thread.join()


@pytest.fixture
def write_small_shards():
    """The function `write_shards`."""
    return write_shards


@pytest.fixture(scope="session")
def small_shards(tmp_path_factory):
    """Shards of three videos, frames and flow, and one that failed."""
    return write_shards(tmp_path_factory.mktemp("small"))
