"""The explorer over HTTP, for one person on one machine.

Only the loopback address is listened at unless told otherwise; pages of other origins are refused,
and so are names of hosts that lead here by a trick (DNS rebinding). No path, no code and no pickle
comes in.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lensscope.errors import LensscopeError
from lensscope.explorer.desk import Desk, Told, failure
from lensscope.explorer.page import LIVE, bundle, live_page, recorded_page
from lensscope.explorer.record import checked
from lensscope.store.json_text import json_text, read_json

_QUESTION: Final = 1 << 20
_RECORD: Final = 64 << 20
"""Bytes of a question, and of a record, at most."""
_OPEN: Final = ("/explorer.js", "/explorer.css", "/favicon.ico")
"""What holds nothing of the model, and is given to every page of this address."""
_NAME: Final = 80
_QUIET: Final = 15.0
"""Seconds after which a stream says that it is still there."""
_HEADERS: Final = {
    "content-security-policy": LIVE,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
    "x-frame-options": "DENY",
}


def app_of(desk: Desk, about: Mapping[str, Any], hosts: Sequence[str], token: str) -> ASGIApp:
    """The application.

    Args:
        desk: answers.
        about: what the browser is told of the model.
        hosts: how the server may be called, ``name:port``; all, if there are none.
        token: what a request must have, if anything.
    """

    async def page(request: Request) -> Response:
        return Response(live_page(about["model"]["name"]), media_type="text/html")

    async def script(request: Request) -> Response:
        return Response(bundle("explorer.js"), media_type="text/javascript")

    async def style(request: Request) -> Response:
        return Response(bundle("explorer.css"), media_type="text/css")

    async def tell_about(request: Request) -> Response:
        return Response(json_text(about, indent=None), media_type="application/json")

    async def ask(request: Request) -> Response:
        given = read_json(await _body(request, _QUESTION))
        if not isinstance(given, Mapping):
            raise ValueError("no object")
        session, lane = (str(given.get(name, ""))[:_NAME] for name in ("session", "lane"))
        told = _stream(desk, given.get("question"), session, lane)
        return StreamingResponse(told, media_type="text/event-stream")

    async def export(request: Request) -> Response:
        given = read_json(await _body(request, _RECORD))
        try:
            made = await asyncio.to_thread(recorded_page, checked(given))
        except LensscopeError as error:
            told = json_text({"error": failure(error)})
            return Response(told, 400, media_type="application/json")
        return Response(made, media_type="text/html")

    routes = [
        Route("/", page),
        Route("/explorer.js", script),
        Route("/explorer.css", style),
        Route("/about", tell_about),
        Route("/ask", ask, methods=["POST"]),
        Route("/export", export, methods=["POST"]),
        Route("/favicon.ico", _nothing),
    ]
    app = Starlette(routes=routes, exception_handlers={ValueError: _refuse, TooLarge: _too_large})
    return Guard(app, hosts, token)


class Guard:
    """Refuses what does not come from the explorer's own page, and says what its pages may do.

    Args:
        app: what is guarded.
        hosts: as in `app_of`.
        token: as there.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str], token: str) -> None:
        self.app, self.hosts, self.token = app, frozenset(hosts), token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message["headers"], *own]
            await send(message)

        wrong = self.wrong(Request(scope))
        if wrong:
            response = PlainTextResponse(f"lensscope: {wrong}\n", 403)
            await response(scope, receive, headed)
        else:
            await self.app(scope, receive, headed)

    def wrong(self, request: Request) -> str:
        """Why a request is refused; empty if it is not."""
        host = request.headers.get("host", "")
        if self.hosts and host not in self.hosts:
            return "this server does not go by that name"
        origin = request.headers.get("origin")
        if origin is not None and origin != f"http://{host}":
            return "another page may not ask"
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return "another page may not ask"
        path = request.scope["path"]
        own = path not in ("/", *_OPEN)
        if own and request.headers.get("x-lensscope") != "explorer":
            return "only the explorer's own page may ask"
        if self.token and path not in _OPEN:
            given = request.headers.get("x-lensscope-token", "")
            given = given or request.query_params.get("token", "")
            if not secrets.compare_digest(given.encode(), self.token.encode()):
                return "the address needs the token that lensscope printed"
        return ""


class TooLarge(Exception):
    """A request that is larger than anything that the explorer asks."""


async def _body(request: Request, most: int) -> bytes:
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > most:
            raise TooLarge
    return bytes(found)


async def _stream(desk: Desk, question: Any, session: str, lane: str) -> AsyncIterator[str]:
    """What is told of a question, as server-sent events, until somebody closes it."""
    loop, told = asyncio.get_running_loop(), asyncio.Queue[Told]()

    def tell(one: Told) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(told.put_nowait, one)

    job = desk.ask(question, session, lane, tell)
    try:
        while True:
            try:
                one = await asyncio.wait_for(told.get(), _QUIET)
            except asyncio.TimeoutError:
                yield ": still there\n\n"
                continue
            yield f"data: {json_text(one, indent=None)}\n\n"
            if "done" in one or "error" in one:
                return
    finally:
        if job is not None:
            desk.cancel(job)


async def _nothing(request: Request) -> Response:
    return Response(status_code=204)


async def _refuse(request: Request, error: Exception) -> Response:
    return PlainTextResponse("lensscope: this is no question\n", 400)


async def _too_large(request: Request, error: Exception) -> Response:
    return PlainTextResponse("lensscope: this is too large\n", 413)
