"""Addresses, and who may ask for them.

No part of an address is ever a path: static files are read once at the start, identifiers and names of runs are looked
up in what was read from the folders. Only GET and HEAD are answered, only for a host name of this machine (a page
elsewhere whose name points here is refused), and pages may load nothing but their own files, no inline script or style.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import socket
from collections.abc import Callable, Iterable
from functools import partial
from importlib import resources
from urllib.parse import urlsplit

import anyio
import jinja2
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tdn_data.pipeline.errors import PipelineError
from tdn_data.pipeline.text import shown_text
from tdn_data.pipeline.view.browse.charts import short
from tdn_data.pipeline.view.browse.evaluated_runs import PICTURES
from tdn_data.pipeline.view.browse.filters import AddressError, Filter
from tdn_data.pipeline.view.browse.media import MAX_ROWS, Answer, NotStored
from tdn_data.pipeline.view.browse.overview_page import overview
from tdn_data.pipeline.view.browse.runs_page import all_runs, compare, one_run
from tdn_data.pipeline.view.browse.site import Moment, Site, UnknownVideo, link
from tdn_data.pipeline.view.browse.video_page import video
from tdn_data.pipeline.view.browse.videos_page import grid, suggestions

logger = logging.getLogger(__name__)

PICTURES_AT_ONCE, PAGES_AT_ONCE = 4, 4  # threads that read; who comes later waits
MAX_PICTURE_BYTES = 32 << 20
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
NO_PICTURE = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 160 90"><rect width="160" height="90" fill="#8886"/>'
    '<text x="80" y="49" text-anchor="middle" font-family="sans-serif" font-size="11" fill="#888">'
    "cannot be read</text></svg>"
)


def build_app(site: Site, *, host_names: Iterable[str] = ()) -> ASGIApp:
    """Return the application; `host_names` are names of this machine beside localhost and addresses of the loopback."""
    doors = _Doors(site)
    pages = {
        "/": doors.overview,
        "/videos": doors.videos,
        "/video": doors.video,
        "/runs": doors.runs,
        "/run": doors.run,
        "/compare": doors.compare,
    }
    media = {
        "/media/poster": doors.poster,
        "/media/preview": doors.preview,
        "/media/rows": doors.rows,
        "/media/magnitude": doors.magnitude,
        "/media/wheel": doors.wheel,
        "/media/picture": doors.picture,
    }
    routes = [Route(path, doors.page(make)) for path, make in pages.items()]
    routes += [Route(path, doors.media(make)) for path, make in media.items()]
    routes += [Route("/lengths", doors.lengths), *_static_routes()]
    app = Starlette(routes=routes, exception_handlers={404: doors.nothing})
    return Guard(app, host_names)


class Guard:
    """Refuses what is not a GET of a page of this machine, and adds the headers that keep pages to themselves."""

    def __init__(self, app: ASGIApp, host_names: Iterable[str]) -> None:
        self._app, self._names = app, {name.lower() for name in host_names} | {"localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it with a sentence."""
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        app: ASGIApp = self._app
        if not self._is_ours(Headers(scope=scope).get("host", "")):
            app = PlainTextResponse("This page answers only to the names of its own machine.\n", 421)
        elif scope["method"] not in ("GET", "HEAD"):
            app = PlainTextResponse("Only GET is answered here.\n", 405, headers={"Allow": "GET, HEAD"})
        await app(scope, receive, send_with_headers)

    def _is_ours(self, host: str) -> bool:
        """Whether a Host header names this machine: an attacker's page has a name of its own, never such an address."""
        try:
            address = urlsplit(f"//{host}")
        except ValueError:
            return False
        name = address.hostname or ""
        if address.netloc != host or "@" in host:
            return False
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback


def names_of(host: str) -> set[str]:
    """Return the names by which pages on `host` may be asked for beside those of the loopback."""
    if host in ("0.0.0.0", "::"):
        own = socket.gethostname()
        found = {own, socket.getfqdn()}
        for family, *_, address in socket.getaddrinfo(own, None):
            if family in (socket.AF_INET, socket.AF_INET6):
                found.add(str(address[0]))
        return found
    return {host}


class _Doors:
    """From requests to pages and pictures, a limited number at once."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._pictures = anyio.CapacityLimiter(PICTURES_AT_ONCE)
        self._pages = anyio.CapacityLimiter(PAGES_AT_ONCE)
        loader = jinja2.PackageLoader("tdn_data.pipeline.view.browse", "templates")
        self._templates = jinja2.Environment(
            loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self._templates.filters |= {
            "shown": shown_text,
            "short": short,
            "json": partial(json.dumps, separators=(",", ":")),
        }
        self._templates.globals["link"] = link

    # how requests are answered

    def page(self, make: Callable[[Moment, Request], tuple[str, dict, int]]):
        """Return the endpoint of a page; what an address says wrongly becomes a page that says so."""

        def answer(request: Request) -> Response:
            moment = self._site.now()
            try:
                template, content, status = make(moment, request)
            except AddressError as error:
                content = moment.frame(Filter(), "error") | {
                    "title": "This address cannot be shown",
                    "words": f"{error}.",
                }
                template, status = "message.html.j2", 400
            words = self._templates.get_template(template).render(content)
            return HTMLResponse(words, status, headers={"Cache-Control": "no-store"})

        async def endpoint(request: Request) -> Response:
            return await anyio.to_thread.run_sync(answer, request, limiter=self._pages)

        return endpoint

    def media(self, make: Callable[[Moment, Request], Answer]):
        """Return the endpoint of pictures and planes."""

        def answer(request: Request) -> Response:
            try:
                found = make(self._site.now(), request)
            except AddressError as error:
                return JSONResponse({"error": str(error)}, 400)
            except (NotStored, UnknownVideo) as error:
                return _no_picture(request, str(error), 404)
            except (PipelineError, OSError) as error:
                return _no_picture(request, str(error), 500)
            kept = "private, max-age=3600" if request.query_params.get("v") else "no-store"
            return Response(found.content, media_type=found.kind, headers={"Cache-Control": kept})

        async def endpoint(request: Request) -> Response:
            async with self._pictures:
                if await request.is_disconnected():  # who scrolled on does not wait, so nothing is read for them
                    return Response(status_code=499)
                return await run_in_threadpool(answer, request)

        return endpoint

    async def nothing(self, request: Request, error: Exception) -> Response:
        """Answer an address that is none."""

        def answer() -> str:
            words = "The pages are overview, videos and runs; the links above lead there."
            content = self._site.now().frame(Filter(), "error") | {"title": "There is no such page", "words": words}
            return self._templates.get_template("message.html.j2").render(content)

        return HTMLResponse(await run_in_threadpool(answer), 404)

    # pages

    def overview(self, moment: Moment, request: Request):
        return "overview.html.j2", overview(moment, Filter.read(request.query_params)), 200

    def videos(self, moment: Moment, request: Request):
        page = _whole(request, "page", 1)
        return "videos.html.j2", grid(moment, Filter.read(request.query_params), page), 200

    def video(self, moment: Moment, request: Request):
        video_id = request.query_params.get("id", "")
        try:
            return "video.html.j2", video(moment, video_id, Filter.read(request.query_params)), 200
        except UnknownVideo:
            content = moment.frame(Filter(), "error") | {
                "title": "No such video",
                "suggestions": suggestions(moment, video_id),
            }
            content["words"] = f"No video here is called {shown_text(video_id)!r}."
            return "message.html.j2", content, 404

    def runs(self, moment: Moment, request: Request):
        return "runs.html.j2", all_runs(moment), 200

    def run(self, moment: Moment, request: Request):
        return "run.html.j2", one_run(moment, request.query_params.get("name", "")), 200

    def compare(self, moment: Moment, request: Request):
        query = request.query_params
        return "compare.html.j2", compare(moment, query.get("a", ""), query.get("b", "")), 200

    async def lengths(self, request: Request) -> Response:
        """Say how many shards were read for lengths by now."""
        lengths = (await run_in_threadpool(self._site.now)).lengths
        return JSONResponse({"read": lengths.num_read, "of": lengths.num_shards, "done": lengths.done})

    # pictures

    def poster(self, moment: Moment, request: Request) -> Answer:
        return moment.media.poster(moment.videos, _place(moment, request))

    def preview(self, moment: Moment, request: Request) -> Answer:
        return moment.media.preview(moment.videos, _place(moment, request))

    def magnitude(self, moment: Moment, request: Request) -> Answer:
        return moment.media.magnitude(moment.videos, _place(moment, request))

    def rows(self, moment: Moment, request: Request) -> Answer:
        modality = request.query_params.get("modality", "")
        if modality not in moment.videos.stored:
            raise AddressError(f"modality is {modality!r}; stored are {', '.join(moment.videos.stored)}")
        start, count = _whole(request, "start", 0), _whole(request, "count", MAX_ROWS)
        return moment.media.rows(moment.videos, _place(moment, request), modality, start, count)

    def wheel(self, moment: Moment, request: Request) -> Answer:
        bound, scale = _real(request, "bound"), _real(request, "scale")
        return moment.media.wheel(bound, scale)

    def picture(self, moment: Moment, request: Request) -> Answer:
        """Return an explanation picture: its name is looked up among those that were listed."""
        run = moment.runs.get(request.query_params.get("run", ""))
        names = {name: name for name in run.pictures} if run is not None else {}
        name = names.get(request.query_params.get("name", ""))
        if run is None or name is None:
            raise NotStored("there is no such picture.")
        path = run.folder / "explain" / name
        with path.open("rb") as file:
            return Answer(file.read(MAX_PICTURE_BYTES), PICTURES[path.suffix.lower()])


def _place(moment: Moment, request: Request) -> int:
    video_id = request.query_params.get("id", "")
    place = moment.videos.place(video_id)
    if place is None:
        raise UnknownVideo(f"no video is called {video_id!r}")
    return place


def _whole(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise AddressError(f"{name} is {text[:40]!r}; it must be a whole number")
    return int(text)


def _real(request: Request, name: str) -> float:
    text = request.query_params.get(name, "")
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 1e6:
        raise AddressError(f"{name} is {text[:40]!r}; it must be a positive number of pixels")
    return round(number, 3) or 0.001


def _no_picture(request: Request, words: str, status: int) -> Response:
    """Return what stands in a picture's place: a drawing where one is shown, words where a script asks."""
    if request.url.path in ("/media/poster", "/media/preview", "/media/picture"):
        return Response(NO_PICTURE, status, media_type="image/svg+xml")
    return JSONResponse({"error": words}, status)


def _static_routes() -> list[Route]:
    """Return a route for each file in `static`, its content read now."""
    routes = []
    for file in resources.files("tdn_data.pipeline.view.browse").joinpath("static").iterdir():
        suffix = file.name[file.name.rfind(".") :]
        if suffix in TYPES:
            content = file.read_bytes()
            routes.append(Route(f"/static/{file.name}", _static(content, TYPES[suffix])))
            if file.name == "icon.svg":
                routes.append(Route("/favicon.ico", _static(content, TYPES[suffix])))
    return routes


def _static(content: bytes, kind: str):
    async def endpoint(request: Request) -> Response:
        return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})

    return endpoint
