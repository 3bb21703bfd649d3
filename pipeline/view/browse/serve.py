"""The page's socket, its server and the browser that opens it."""

from __future__ import annotations

import errno
import logging
import os
import socket
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path

import uvicorn

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.view.browse.app import build_app, names_of
from tdn_data.pipeline.view.browse.site import Site

logger = logging.getLogger(__name__)

HOST, PORT = "127.0.0.1", 8420


def open_site(path: str, *, runs: Sequence[Path] = (), host: str = HOST, port: int | None = None) -> OpenSite:
    """Read what is at `path` and take a port for it; nobody is answered before `OpenSite.serve`.

    Args:
        path: a folder of shards or its address; or one with such folders called `rgb` and `flow`.
        runs: folders of evaluated runs.
        host: the address to listen on; others than the loopback's let other machines in.
        port: None for `PORT`, or any free one where that is taken; 0 for any free one.

    Raises:
        InputError: no shards are there, or the port or the host cannot be had.
        ShardError: there are shards, and not one of them can be read.
    """
    site = Site(path, runs)
    return OpenSite(site, _bind(host, port), host)


class OpenSite:
    """A page whose port is taken; `url` is its address."""

    def __init__(self, site: Site, listener: socket.socket, host: str) -> None:
        self.site, self._listener = site, listener
        name = f"[{host}]" if ":" in host else "127.0.0.1" if host == "0.0.0.0" else host
        self.url = f"http://{name}:{listener.getsockname()[1]}/"
        config = uvicorn.Config(
            build_app(site, host_names=names_of(host)),
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            lifespan="off",
            ws="none",
            loop="asyncio",
            http="h11",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)

    def serve(self) -> None:
        """Answer until Ctrl-C, or until `stop` is called."""
        try:
            self._server.run(sockets=[self._listener])
        finally:
            self._listener.close()
            self.site.media.close()

    def stop(self) -> None:
        """Make `serve` return soon; may be called from another thread."""
        self._server.should_exit = True


def _bind(host: str, port: int | None) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, PORT if port is None else port), family=family, backlog=128)
    except OSError as error:
        if error.errno == errno.EADDRINUSE and port is None:
            return socket.create_server((host, 0), family=family, backlog=128)
        raise InputError(_port_words(host, port, error), key="port") from error


def _port_words(host: str, port: int | None, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} is in use by another program; give another with --port, or leave --port out and a free one "
            "is taken."
        )
    if error.errno == errno.EACCES:
        return f"port {port} may not be used (permission denied); give one from 1024 on with --port."
    words = os.strerror(error.errno).lower() if error.errno and error.errno > 0 else "no such name is known"
    return f"{host} is no address that this machine can listen on ({words}); leave --host out."


def open_browser(url: str, get: Callable[[], webbrowser.BaseBrowser] = webbrowser.get) -> bool:
    """Open a page in the desktop's browser; return False where there is none (one in the terminal is none)."""
    try:
        browser = get()
        in_terminal = isinstance(browser, webbrowser.GenericBrowser) and not isinstance(
            browser, webbrowser.BackgroundBrowser
        )
        return not in_terminal and browser.open(url)
    except (webbrowser.Error, OSError):
        return False
