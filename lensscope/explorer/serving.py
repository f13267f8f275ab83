"""A server for as long as it is wanted: its address, its thread, its end."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import uvicorn

from lensscope.errors import FileError
from lensscope.explorer.desk import Desk, Worker
from lensscope.explorer.server import app_of

PORT: Final = 8228
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_TRIED: Final = 20
"""Ports that are tried, one after another, unless one is asked for."""


@contextmanager
def served(
    desk: Desk,
    about: Mapping[str, Any],
    host: str | None = None,
    port: int | None = None,
    first: Sequence[Mapping[str, Any]] = (),
    *,
    works: bool = True,
) -> Iterator[str]:
    """A server in a thread, while the ``with`` block lasts; gives its address.

    Args:
        desk: answers.
        about: what is told of the model.
        host: the address that is listened at; the loopback one by default. Any other has a token in
            its URL, without which nothing is answered.
        port: a free one near 8228 by default.
        first: questions that are answered before anybody asks.
        works: answer in a thread; otherwise whoever has the desk does.

    Raises:
        FileError: the address or port cannot be used.
    """
    local = host is None or host in _LOOPBACK
    found = _bound(host or _LOOPBACK[0], port)
    with found:
        number = found.getsockname()[1]
        token = "" if local else secrets.token_urlsafe(24)
        hosts = [f"{name}:{number}" for name in ("127.0.0.1", "localhost", "[::1]")]
        app = app_of(desk, about, hosts if local else (), token)
        config = uvicorn.Config(
            app, log_level="error", access_log=False, timeout_graceful_shutdown=1, lifespan="off"
        )
        server = uvicorn.Server(config)
        worker = Worker(desk) if works else None
        name = "lensscope explorer, server"
        thread = threading.Thread(target=server.run, args=([found],), name=name, daemon=True)
        thread.start()
        for n, question in enumerate(first):
            desk.ask(question, "first", str(n), lambda told: None)
        shown = f"[{host}]" if host and ":" in host else host or _LOOPBACK[0]
        try:
            yield f"http://{shown}:{number}/" + (f"?token={token}" if token else "")
        finally:
            desk.close() if worker is None else worker.stop()
            server.should_exit = True
            thread.join(10)


def _bound(host: str, port: int | None) -> socket.socket:
    """A socket at a port: the one that is asked for, or the first that is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    tried = [port] if port is not None else [*range(PORT, PORT + _TRIED), 0]
    last: OSError | None = None
    for number in tried:
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, number))
            found.listen(128)  # whoever comes before the server is up waits
        except (OSError, OverflowError) as error:
            found.close()
            last = error if isinstance(error, OSError) else OSError(str(error))
            continue
        return found
    why = (last and last.strerror) or last
    raise FileError(
        "The explorer cannot listen there.",
        got=f"{host}, port {port if port is not None else PORT}: {why}",
        expected="an address of this machine, and a port that is free",
        instead="lensscope explore, which takes a free port; or --port 0",
    )
