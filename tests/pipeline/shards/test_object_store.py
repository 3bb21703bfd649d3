"""Extraction into S3: a real server (moto's) on loopback, also one that fails every third request."""

import hashlib
import threading

import pytest

from tdn_data.pipeline.datasets.index import index_dataset
from tdn_data.pipeline.errors import InputError, PipelineError
from tdn_data.pipeline.extraction.engine import run_extraction
from tdn_data.pipeline.parameters import ExtractParameters, FrameParameters
from tdn_data.pipeline.shards.ledger import read_ledger
from tdn_data.pipeline.shards.reader import ShardReader
from tdn_data.pipeline.shards.status import extraction_status
from tdn_data.pipeline.shards.storage import Storage
from tdn_data.pipeline.shards.verify import verify_shards
from tests.pipeline.conftest import s3_server

PARAMETERS = ExtractParameters(frames=FrameParameters(height=48, width=64))


class FailEveryThird:
    """A WSGI application in front of another that answers every third request with 503, when switched on."""

    def __init__(self, application):
        self.application, self.on, self.num_requests, self.num_refused = application, False, 0, 0
        self._lock = threading.Lock()

    def __call__(self, environ, start_response):
        with self._lock:
            self.num_requests += 1
            refused = self.on and self.num_requests % 3 == 0
            self.num_refused += refused
        if refused:
            start_response("503 Service Unavailable", [("Content-Length", "0")])
            return [b""]
        return self.application(environ, start_response)


@pytest.fixture(scope="module")
def store():
    """A bucket's address as a format string of the folder, and the switch that makes requests fail."""
    from moto.server import DomainDispatcherApplication, create_backend_app

    application = FailEveryThird(DomainDispatcherApplication(create_backend_app))
    with s3_server(application) as address:
        yield address, application


def digests(location):
    storage = Storage(location)
    return {name: hashlib.sha256(storage.read_bytes(name)).hexdigest() for name in storage.names()}


@pytest.fixture(scope="module")
def local(clip_folder, tmp_path_factory):
    """The same extraction on the local disk."""
    out = tmp_path_factory.mktemp("local")
    run_extraction(index_dataset("folder", clip_folder), PARAMETERS, out=out, num_workers=2)
    return out


def test_shards_in_s3_are_those_on_disk_and_are_read_from_there(clip_folder, store, local):
    location = store[0].format("plain")
    summary = run_extraction(index_dataset("folder", clip_folder), PARAMETERS, out=location, num_workers=2)
    assert summary.num_shards_made == 4
    assert digests(location) == digests(local)
    assert verify_shards(location).findings == ()
    expected = ShardReader(local).read("videos/clip 07", [2]).data
    assert (ShardReader(location).read("videos/clip 07", [2]).data == expected).all()


def test_a_store_that_fails_every_third_request_ends_well(clip_folder, store, local):
    template, application = store
    location = template.format("flaky")
    application.on = True
    try:
        run_extraction(index_dataset("folder", clip_folder), PARAMETERS, out=location, num_workers=2)
    finally:
        application.on = False
    assert application.num_refused > 10
    assert digests(location) == digests(local)


def test_what_is_stored_in_s3_does_not_go_unasked(clip_folder_copy, store, local):
    location = store[0].format("loss")
    video = clip_folder_copy / "videos/clip 07.mp4"
    whole = video.read_bytes()

    def run(**options):
        return run_extraction(
            index_dataset("folder", clip_folder_copy), PARAMETERS, out=location, num_workers=2, **options
        )

    run()
    video.write_bytes(b"no video any more" * 100)
    with pytest.raises(PipelineError, match="1 video would lose rows that are stored"):
        run()
    video.unlink()
    with pytest.raises(InputError, match="1 video that is stored is not in"):
        run()
    assert digests(location) == digests(local) and extraction_status(location).finished
    run(allow_loss=True)
    assert extraction_status(location).finished and not verify_shards(location).findings
    assert sum(row.reason == "missing" for row in read_ledger(Storage(location))) == 2
    video.write_bytes(whole)
    assert run().num_shards_made == 1
    assert digests(location) == digests(local) and not Storage(location).folder(".new").names()
