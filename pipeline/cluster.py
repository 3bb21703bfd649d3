"""Ray, of a cluster at an address or of this machine alone: what is spread over processes runs inside it."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from tdn_data.pipeline.errors import InputError, PipelineError, own_words

MAX_RETRIES = 3  # of work whose process was lost
KNOCK_SECONDS = 10
CHECK_SECONDS = 30
OBJECT_STORE_BYTES = 80 << 20  # results are small; Ray wants at least 75 MB
SHARED_MEMORY = "/dev/shm"
TOKEN_PATH = os.path.expanduser("~/.ray/auth_token")  # where Ray looks for it
SOCKET_PATH_BYTES = 107  # Linux' limit
RAY_PATH_BYTES = 72  # /ray/session_2026-11-26_11-54-13_123456_1234567/sockets/plasma_store
_ADDRESS = re.compile(r"(auto|(ray://)?[^\s:/]+:\d+)")


@contextlib.contextmanager
def ray_cluster(num_workers: int | None, ray_address: str | None) -> Iterator:
    """Give the ray module, connected to an existing cluster or to a local one that ends with the block.

    Raises InputError with what is wrong and what to set: Ray's own errors are of any kind, plain Exception among them.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if ray_address is not None and not _ADDRESS.fullmatch(ray_address):
        raise InputError(
            f"--ray-address is {ray_address!r}; write HOST:PORT, e.g. head:6379, or ray://HOST:PORT.", key=ray_address
        )
    with contextlib.ExitStack() as stack:
        try:
            if ray_address is not None:
                _knock(ray_address)
                stack.enter_context(_token_shown(ray_address))
            import ray

            logging.getLogger("ray").setLevel(logging.ERROR)  # it reports other clusters on this machine
            options = {"address": ray_address}
            if ray_address is None:
                stack.enter_context(_no_token_made())
                options = _local_options(num_workers)
            stack.callback(ray.shutdown)
            ray.init(**options, logging_level=logging.ERROR, log_to_driver=False)
        except PipelineError:
            raise
        except Exception as error:
            raise InputError(f"{_no_ray(ray_address)}: {own_words(error)}.", key=ray_address) from error
        yield ray


def value_of(ray, reference, *, work: str = "a shard") -> object:
    """Return what a reference stands for.

    Raises PipelineError: the one that the `work` raised, or with its words where it failed in another way, or where its
    process was lost too often.
    """
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, PipelineError):
            raise cause from error
        raise PipelineError(f"{work} could not be made: {type(cause).__name__}: {cause}") from error
    except ray.exceptions.RayError as error:
        raise PipelineError(f"a worker was lost {MAX_RETRIES + 1} times over {work}: {error}") from error


def require_room(kind: str, wanted: int, found: int) -> None:
    """Raise InputError where there are fewer of a kind, `core` or `GPU`, than processes that need one each."""
    if wanted > found:
        raise InputError(
            f"{wanted} processes need a {kind} each; found: {found or 'none'}. Start fewer, or name another device or "
            "cluster.",
            key="num_processes",
        )


@contextlib.contextmanager
def _token_shown(address: str) -> Iterator[None]:
    """Let Ray show a cluster that asks for one the token of this machine, unless RAY_AUTH_MODE says what it is to do.

    From 2.60 on `ray start` asks for a token where one lies in the home folder, and `ray.init` does not show it by
    itself. A process that shows one asks the cluster's workers for it, too: where they have none, nothing ever ends.
    """
    known = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH") or os.path.isfile(TOKEN_PATH)
    if "RAY_AUTH_MODE" in os.environ or not known:
        yield
        return
    os.environ["RAY_AUTH_MODE"] = "token" if _asks_for_token(address) else "disabled"
    try:
        yield
    finally:
        del os.environ["RAY_AUTH_MODE"]  # a Ray that this process starts itself would ask for the token, too


def _asks_for_token(address: str) -> bool:
    """Return whether a cluster refuses those without a token; a client's server, at ray://, is always shown one."""
    if address.startswith("ray://"):
        return True
    where = [] if address == "auto" else ["--address", address]
    check = [sys.executable, "-m", "ray.scripts.scripts", "health-check", *where]
    environment = os.environ | {"RAY_AUTH_MODE": "disabled"}
    try:
        answer = subprocess.run(check, env=environment, capture_output=True, text=True, timeout=CHECK_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return "AuthenticationError" in answer.stderr


def _no_ray(ray_address: str | None) -> str:
    """Return what could not be done, and what to look at."""
    if ray_address is not None:
        return (
            f"no Ray could be reached at {ray_address}; check the address, that `ray start --head` runs there, and, if "
            "that Ray asks for a token, that ~/.ray/auth_token is the same on both machines"
        )
    return (
        f"no Ray could be started on this machine; it needs room in {tempfile.gettempdir()} (set TMPDIR to another "
        "folder) and some memory and processes (--workers 1 needs fewest)"
    )


@contextlib.contextmanager
def _no_token_made() -> Iterator[None]:
    """Keep Ray from writing a token into the home folder, for which every later `ray start` would ask."""
    if "RAY_AUTH_MODE" in os.environ:
        yield
        return
    os.environ["RAY_AUTH_MODE"] = "disabled"
    try:
        yield
    finally:
        del os.environ["RAY_AUTH_MODE"]


def _local_options(num_workers: int | None) -> dict[str, object]:
    """Return what makes `ray.init` start a small Ray."""
    os.environ["RAY_TMPDIR"] = _ray_folder()  # Ray keeps a note of its address there, too
    folder = os.path.join(os.environ["RAY_TMPDIR"], "ray")
    options = {
        "address": "local",  # whatever RAY_ADDRESS says
        "num_cpus": num_workers or os.cpu_count(),
        "include_dashboard": False,
        "object_store_memory": OBJECT_STORE_BYTES,
        "_temp_dir": folder,
    }
    if not _has_room(SHARED_MEMORY, OBJECT_STORE_BYTES):  # read-only or tiny, as in many containers
        options["_plasma_directory"] = folder
    return options


def _ray_folder() -> str:
    """Return the folder for Ray's sessions, short enough for the sockets in it; raise InputError where there is none.

    A socket's path has at most 107 bytes on Linux, and Ray needs `RAY_PATH_BYTES` of them for its own names.
    """
    wanted = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    for folder in (wanted, "/tmp"):
        if len(os.fsencode(folder)) + RAY_PATH_BYTES <= SOCKET_PATH_BYTES and _has_room(folder, 1 << 20):
            return folder
    raise InputError(
        f"Ray cannot put its sockets into {wanted}: its path must have at most {SOCKET_PATH_BYTES - RAY_PATH_BYTES} "
        f"bytes (it has {len(os.fsencode(wanted))}), and the folder must be writable; set TMPDIR to such a folder.",
        path=wanted,
    )


def _has_room(folder: str, num_bytes: int) -> bool:
    """Return whether a folder can be written into and has room for so many bytes."""
    try:
        room = os.statvfs(folder)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK) and room.f_bavail * room.f_frsize >= num_bytes


def _knock(address: str) -> None:
    """Raise OSError when nothing listens at HOST:PORT, which Ray itself would wait minutes for."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), timeout=KNOCK_SECONDS).close()
