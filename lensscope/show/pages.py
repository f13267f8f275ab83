"""HTML pages made of text and numbers alone; no script, no outside resource."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lensscope.signs import escape

STYLE: Final = """
.lensscope { font: 15px/1.45 system-ui, sans-serif; color: #1c2430; }
.lensscope h2 { font-size: 1.25em; margin: 1.8em 0 .2em; }
.lensscope p { margin: .2em 0 .8em; color: #50596b; max-width: 60em; }
.lensscope table { border-collapse: collapse; margin: .4em 0 1em; }
.lensscope th { text-align: left; font-weight: 600; color: #50596b; padding: .25em .8em; }
.lensscope td { padding: .2em .8em; border-top: 1px solid #e3e7ee; text-align: left;
  vertical-align: top; }
.lensscope td.n, .lensscope th.n { text-align: right; font-variant-numeric: tabular-nums; }
.lensscope .t { font-family: ui-monospace, monospace; white-space: pre-wrap; }
.lensscope .p { color: #8390a5; font-size: .85em; }
.lensscope table.grid td { font-size: .78em; padding: .1em .3em; }
.lensscope .wide { overflow-x: auto; }
.lensscope .q { font-family: ui-monospace, monospace; background: #f2f4f8; padding: .1em .35em;
  border-radius: .25em; }
""".strip()


def page(title: str, sections: Sequence[str], intro: str = "") -> str:
    """A whole page."""
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}</title><style>body{{margin:2em auto;max-width:72em;"
        f"padding:0 1.2em;background:#fff}}\n{STYLE}</style></head><body class='lensscope'>"
        f"<h1>{escape(title)}</h1>{intro}{''.join(sections)}</body></html>\n"
    )


def table(head: str, lines: Sequence[str], kind: str = "") -> str:
    """A table of a head and lines that are HTML already."""
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table class='{kind}'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def as_html(notes: Sequence[str]) -> str:
    """Notes as a piece of HTML."""
    return "".join(f"<p><strong>Note:</strong> {escape(note)}</p>" for note in notes)
