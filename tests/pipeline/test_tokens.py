"""Ray's tokens: work on clusters that ask for one and that do not, from a machine that has one."""

import os
import re
import subprocess
import sys
import tempfile

import psutil
import pytest

pytestmark = pytest.mark.slow

WORK = """
import sys
from tdn_data.pipeline.cluster import ray_cluster

def numbers():
    for number in range(3):
        yield number

with ray_cluster(None, sys.argv[1]) as ray:
    stream = ray.remote(num_returns="streaming")(numbers).remote()
    print([ray.get(one) for one in stream])
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder with a token in it, as Ray leaves one behind."""
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").write_text("0123456789abcdef" * 2)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["token", "disabled"])
def address(home, request):
    """The address of a Ray with one core that runs as long as the test."""
    options = ("--head", "--port=0", "--num-cpus=1", "--include-dashboard=false", "--block")
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *options]
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as folder:  # paths of sockets are short
        environment = os.environ | {"RAY_AUTH_MODE": request.param, "RAY_TMPDIR": folder}
        head = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            printed = (re.search(r"--address='([^']+)'", line) for line in head.stdout)
            yield next(match[1] for match in printed if match)
        finally:
            for process in [*psutil.Process(head.pid).children(recursive=True), head]:
                process.kill()
            head.communicate()


def test_work_is_done_whether_the_cluster_asks_for_a_token_or_not(address):
    done = subprocess.run([sys.executable, "-c", WORK, address], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[0, 1, 2]\n", done.stderr


LOCAL = """
from tdn_data.pipeline.cluster import ray_cluster
with ray_cluster(1, None) as ray:
    print(ray.get(ray.remote(lambda: "works").remote()))
"""


def test_a_local_ray_leaves_no_token_behind_and_heeds_no_address(home, tmp_path, monkeypatch):
    (tmp_path / ".ray/auth_token").unlink()
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.1:6379")
    done = subprocess.run([sys.executable, "-c", LOCAL], capture_output=True, text=True, timeout=60)
    assert done.stdout == "works\n", done.stderr
    assert not list((tmp_path / ".ray").iterdir())
