"""Kill -9 at random moments, continue, and compare with an undisturbed run, byte by byte.

Each kind of kill is done twice here and TDN_DATA_KILLS times by `make kills` (20).
"""

import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
import time

import psutil
import pytest

pytestmark = pytest.mark.slow

NUM_KILLS = int(os.environ.get("TDN_DATA_KILLS", "2"))
FINISH_SECONDS = 240


def command(root, out, *options):
    arguments = ("--dataset", "folder", "--root", root, "--out", out, "--modality", "both", "--size", "96x128")
    return [
        sys.executable,
        "-c",
        "from tdn_data.stages.cli import main; main()",
        "extract",
        *map(str, (*arguments, *options)),
    ]


def start(root, out, *options):
    return subprocess.Popen(command(root, out, *options), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(process):
    """Wait for an extraction to end well and return what it printed on stderr."""
    _, words = process.communicate(timeout=FINISH_SECONDS)
    assert process.returncode == 0, words
    return words


def hashes(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def undisturbed(clip_folder, tmp_path_factory):
    """The hashes of an undisturbed extraction, and how many seconds it takes."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    started = time.monotonic()
    finish(start(clip_folder, out))
    return hashes(out), time.monotonic() - started


def moments(undisturbed, seed):
    """Random seconds after the start, most of them while shards are being made."""
    generator = random.Random(seed)
    return [generator.uniform(0.3, 1.0) * undisturbed[1] for _ in range(NUM_KILLS)]


def test_the_driver_is_killed(clip_folder, undisturbed, tmp_path):
    for number, seconds in enumerate(moments(undisturbed, 1)):
        out = tmp_path / str(number)
        process = start(clip_folder, out)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        finish(start(clip_folder, out))
        assert hashes(out) == undisturbed[0]


def test_a_worker_is_killed(clip_folder, undisturbed, tmp_path):
    generator, num_killed = random.Random(2), 0
    for number in range(4 * NUM_KILLS):  # now and then the work is done before the moment comes
        out = tmp_path / str(number)
        process = start(clip_folder, out)
        wait_for_workers(process)
        time.sleep(generator.uniform(0, 1))
        workers = wait_for_workers(process)
        if workers:
            generator.choice(workers).kill()
            num_killed += 1
        finish(process)
        assert hashes(out) == undisturbed[0]
        if num_killed == NUM_KILLS:
            return
    pytest.fail(f"only {num_killed} of {NUM_KILLS} kills met a worker at work")


def test_a_node_is_killed(clip_folder, undisturbed, tmp_path):
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        for number, seconds in enumerate(moments(undisturbed, 3)):
            out = tmp_path / str(number)
            node = cluster.add_node(num_cpus=1)
            process = start(clip_folder, out, "--ray-address", cluster.address)
            time.sleep(seconds)
            cluster.remove_node(node, allow_graceful=False)
            finish(process)
            assert hashes(out) == undisturbed[0]
    finally:
        cluster.shutdown()


def test_ctrl_c_leaves_a_state_that_continues(clip_folder, undisturbed, tmp_path):
    process = start(clip_folder, tmp_path)
    time.sleep(0.7 * undisturbed[1])
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=FINISH_SECONDS)
    assert process.returncode in (0, 130) and "Traceback" not in words
    if process.returncode == 130:
        assert "stopped; what is finished stays" in words
    finish(start(clip_folder, tmp_path))
    assert hashes(tmp_path) == undisturbed[0]


def working(process):
    """The busy Ray workers below an extraction: Ray writes a task's name into the command line."""
    found = []
    for one in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "ray::iter_shard" in " ".join(one.cmdline()):
                found.append(one)
    return found


def wait_for_workers(process):
    """Return the busy workers as soon as there are any, none if the extraction ends before."""
    while process.poll() is None:
        found = working(process)
        if found:
            return found
        time.sleep(0.02)
    return []
