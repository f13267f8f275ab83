"""Pages: the one of the live model, and the one that holds its answers."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import Any, Final

from lensscope.errors import FileError
from lensscope.signs import escape
from lensscope.store.json_text import json_text

_STYLE: Final = "body{margin:0}"
_PAGE: Final = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    "<title>{title}</title>{head}</head><body>"
    "<div data-lensscope-explorer></div>{body}</body></html>\n"
)


@cache
def bundle(name: str) -> str:
    """A file of the built front end.

    Raises:
        FileError: it is not there.
    """
    try:
        return files("lensscope.explorer").joinpath(f"static/{name}").read_text("utf-8")
    except FileNotFoundError:
        raise FileError(
            "The explorer's front end was not built.",
            got=f"no {name}",
            expected="the bundle that comes with lensscope",
            instead="npm ci && npm run build, in the folder explorer of the repository",
        ) from None


def sha(text: str) -> str:
    """A text's hash, as a content security policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def policy(script: str, style: str, connect: str = "'none'") -> str:
    """A content security policy: what else is in the page does nothing."""
    return (
        f"default-src 'none'; script-src {script}; style-src {style}; connect-src {connect}; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


LIVE: Final = policy("'self'", f"'self' '{sha(_STYLE)}'", "'self'") + "; frame-ancestors 'none'"


def live_page(model: str) -> str:
    """The page of a live model."""
    return _PAGE.format(
        title=escape(f"{model} · lensscope"),
        head=f'<style>{_STYLE}</style><link rel="stylesheet" href="explorer.css">',
        body='<script type="module" src="explorer.js"></script>',
    )


def recorded_page(recorded: Any) -> str:
    """One file with answers that were recorded, which needs nothing else."""
    script, style = bundle("explorer.js"), _STYLE + bundle("explorer.css")
    # In a page, a script ends at the first "</script", whatever that stands in.
    if re.search(r"<(/|!--|script)", script, re.I) or re.search(r"</", style):
        raise FileError(
            "The front end was built into something that no page can hold.",
            got="a tag's beginning in it",
            expected="none",
            instead="npm run build, in the folder explorer of the repository",
        )
    own = policy(f"'{sha(script)}'", f"'{sha(style)}'")
    data = json_text(recorded, indent=None).replace("<", "\\u003c")
    name = str(recorded.get("about", {}).get("model", {}).get("name", "")) or "a model"
    return _PAGE.format(
        title=escape(f"{name} · lensscope"),
        head=f'<meta http-equiv="Content-Security-Policy" content="{own}"><style>{style}</style>',
        body=f'<script type="application/json" id="lensscope-recorded">{data}</script>'
        f'<script type="module">{script}</script>',
    )
