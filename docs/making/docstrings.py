"""What mkdocstrings is told of docstrings: how their examples, links and tables are meant."""

from __future__ import annotations

import re
from typing import Any

import griffe

from docs.making.names import by_word


class Docstrings(griffe.Extension):
    """Docstrings as the manual shows them; the package itself stays as it is."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite the docstring of an object once it is loaded."""
        if obj.docstring:
            obj.docstring.value = shown(obj.docstring.value, obj)


def shown(text: str, obj: griffe.Object) -> str:
    """A docstring: its examples as a section, names as links, rules as a table."""
    text = re.sub(r"^(\s*)Example:$", r"\1Examples:", text, flags=re.M)
    text = re.sub(r"^::\n\n((?: {4}.*\n|\n)+)", _fenced, text, flags=re.M)
    text = re.sub(r"(?<!`)`([A-Za-z_][\w.]+)`(?!`)", lambda found: _link(found[1], obj), text)
    return re.sub(r"^(=+  =[= ]*)\n(.*?)\n=+  =[= ]*$", _table, text, flags=re.M | re.S)


def _link(word: str, obj: griffe.Object) -> str:
    public = by_word().get(word)
    if public and public.target != obj.path:
        return f"[`{word}`][{public.target}]"
    return f"`{word}`"


def _table(found: re.Match[str]) -> str:
    """A table of reStructuredText, whose columns stand under its ruler."""
    edges = [ruled.start() for ruled in re.finditer("=+", found[1])]
    ends = [*edges[1:], None]
    head = "| what | gives | of |\n| --- | --- | --- |\n"
    rows = [
        [line[start:end].strip() for start, end in zip(edges, ends, strict=True)]
        for line in found[2].splitlines()
    ]
    return head + "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _fenced(found: re.Match[str]) -> str:
    lines = [line[4:] for line in found[1].rstrip().splitlines()]
    return "```text\n" + "\n".join(lines) + "\n```\n\n"
