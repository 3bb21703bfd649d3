"""Jobs on a real Ray: tasks and, on a cluster that counts a GPU, warm actors; both give the same bytes."""

import contextlib
import hashlib
import threading
import time

import psutil
import pytest

from tdn_data.pipeline.cluster import _ray_folder
from tdn_data.pipeline.datasets.index import index_dataset
from tdn_data.pipeline.errors import InputError, PipelineError
from tdn_data.pipeline.extraction.one_shard import ShardJob
from tdn_data.pipeline.extraction.workers import _wants_gpu, run_jobs
from tdn_data.pipeline.files import is_scratch
from tdn_data.pipeline.parameters import ExtractParameters, FlowParameters, FrameParameters
from tdn_data.pipeline.shards.plan import plan_shards
from tdn_data.pipeline.shards.storage import Storage

pytestmark = pytest.mark.slow

SIZE = {"height": 48, "width": 64}
PARAMETERS = ExtractParameters(frames=FrameParameters(**SIZE), flow=FlowParameters(**SIZE))


def jobs_for(root, out, parameters=PARAMETERS):
    manifest, storage = index_dataset("folder", root), Storage(out)
    storage.create()
    return [
        ShardJob(plan, parameters, "folder", manifest.root, storage)
        for modality in parameters.modalities
        for plan in plan_shards(manifest, parameters, modality)
    ]


def hashes(folder):
    """The hashes of all shards; what a killed process left half-written, the end of a whole extraction removes."""
    shards = sorted(path for path in folder.iterdir() if not is_scratch(path.name))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in shards}


@pytest.fixture(scope="module")
def made(clip_folder, tmp_path_factory):
    """The hashes of all shards as tasks make them, and the numbers of videos that were reported done."""
    out, done = tmp_path_factory.mktemp("tasks"), []
    run_jobs(
        jobs_for(clip_folder, out),
        num_workers=2,
        ray_address=None,
        on_done=lambda now: done.append((now.num_videos, len(now.failed))),
    )
    return hashes(out), done


@pytest.fixture
def gpu_cluster():
    """A cluster whose only node has two cores and says that it has a GPU, which Ray takes at its word."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 1, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


def test_progress_counts_each_video_once(made):
    _, done = made
    assert done == sorted(done) and done[-1] == (24, 2)


def test_flow_on_gpus_is_made_by_actors_that_survive_a_kill(clip_folder, made, gpu_cluster, tmp_path):
    seen, jobs = set(), jobs_for(clip_folder, tmp_path)
    killer = threading.Thread(target=lambda: seen.add(kill_first("ray::_GpuActor", of=gpu_cluster)))
    killer.start()
    results = run_jobs(jobs, num_workers=None, ray_address=gpu_cluster.address, on_done=lambda done: None)
    killer.join()
    assert len(results) == len(jobs) and None not in seen
    assert hashes(tmp_path) == made[0]


def kill_first(name, *, of, patience_seconds=60):
    """Kill the cluster's first process that works in an actor's `extract`; return its pid, None if none came.

    Others on this machine may run actors of the same name: only what this cluster's own raylets started is looked at.
    """
    deadline = time.monotonic() + patience_seconds
    while time.monotonic() < deadline:
        for process in workers_of(of):
            with contextlib.suppress(psutil.Error):
                if f"{name}.extract" in " ".join(process.cmdline()):
                    process.kill()
                    return process.pid
        time.sleep(0.05)
    return None


def workers_of(cluster):
    """The processes below the raylets that this test started."""
    found = []
    for node in cluster.list_all_nodes():
        for raylet in node.all_processes["raylet"]:
            with contextlib.suppress(psutil.Error):
                found += psutil.Process(raylet.process.pid).children(recursive=True)
    return found


def test_only_our_flow_wants_a_gpu(clip_folder, tmp_path):
    farneback = ExtractParameters(flow=FlowParameters(**SIZE, method="farneback"))
    wants = {job.plan.modality: _wants_gpu(job) for job in jobs_for(clip_folder, tmp_path)}
    assert wants == {"rgb": False, "flow": True}
    assert not _wants_gpu(jobs_for(clip_folder, tmp_path, farneback)[0])


def test_what_a_job_raises_is_raised_here(clip_folder, tmp_path):
    jobs = jobs_for(clip_folder, tmp_path / "out")
    (tmp_path / "out").rmdir()
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(PipelineError):
        run_jobs(jobs, num_workers=1, ray_address=None, on_done=lambda done: None)


@pytest.mark.parametrize("address", ["", " ", "nothing", "ray://", "host:port", "a b:1"])
def test_an_address_that_is_none_is_refused_with_how_to_write_it(clip_folder, tmp_path, address):
    with pytest.raises(InputError, match="write HOST:PORT, e.g. head:6379"):
        run_jobs(jobs_for(clip_folder, tmp_path), num_workers=1, ray_address=address, on_done=lambda done: None)


LONG = """
import os, sys, tempfile
from tdn_data.pipeline.cluster import ray_cluster
with ray_cluster(1, None) as ray:
    print(ray.get(ray.remote(lambda: "works").remote()))
"""


def test_ray_starts_under_a_long_tmpdir_and_without_shared_memory(on_a_small_disk, tmp_path, monkeypatch):
    folder = tmp_path / ("x" * 90)
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    assert on_a_small_disk("/dev/shm", 1 << 16, LONG).split()[-1] == "works"


def test_a_path_that_is_too_long_for_rays_sockets_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("x" * 90)))
    monkeypatch.setattr("tdn_data.pipeline.cluster._has_room", lambda folder, num_bytes: folder != "/tmp")
    with pytest.raises(InputError, match="must have at most 35 bytes .* set TMPDIR"):
        _ray_folder()


def test_whatever_ray_raises_becomes_a_sentence(clip_folder, tmp_path, monkeypatch):
    def broken(**options):
        raise Exception("The current node timed out during startup.\nLogs follow.")

    monkeypatch.setattr("ray.init", broken)
    with pytest.raises(InputError, match="no Ray could be started on this machine; .* The current node timed out"):
        run_jobs(jobs_for(clip_folder, tmp_path), num_workers=1, ray_address=None, on_done=lambda done: None)
