"""``python -m notebooks.making.slides FOLDER [3 4 …]``: a unit's slides, as Markdown of Marp.

``make slides`` makes HTML and PDF of them. What is on them is what the source tags ``slide``, with
the outputs that the notebooks keep; notes for the lecturer become notes of the presenter.
"""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import nbformat

from lensscope.signs import escape
from notebooks.making.unit import HERE, Cell, Unit, units
from notebooks.making.versions import shown

_LINES: Final = 16
"""How many lines of a text output fit on a slide."""
_HEAD: Final = """---
marp: true
math: mathjax
paginate: true
size: 16:9
title: {title}
style: |
{style}
---
"""


def slides(unit: Unit) -> str:
    """The slides of a unit, with the outputs of its notebook."""
    pages = [_first(unit), *_pages(unit, outputs(unit)), *_exercises(unit)]
    style = (Path(__file__).parent / "slides.css").read_text("utf-8")
    head = _HEAD.format(title=unit.title, style=re.sub("^", "  ", style.strip(), flags=re.M))
    return head + "\n\n---\n\n".join(pages) + "\n"


def outputs(unit: Unit) -> list[Sequence[Any]]:
    """What the cells of the unit's notebook with solutions put out, in order."""
    notebook = nbformat.read(HERE / "solutions" / f"{unit.name}.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [cell.outputs for cell in code[1:]]  # the first one installs


def _first(unit: Unit) -> str:
    goals = "\n".join(f"- {goal}" for goal in unit.about["goals"])
    readings = "\n".join(f"- {reading}" for reading in unit.about["readings"])
    plan = "\n".join(f"{minutes} min: {part}" for minutes, part in unit.about["class"])
    return (
        f"<!-- _class: lead -->\n\n# {unit.number}. {unit.title}\n\n{goals}\n\n"
        f"{_comment(f'Readings{chr(10)}{readings}{chr(10)}{chr(10)}{plan}')}"
    )


def _pages(unit: Unit, found: Sequence[Sequence[Any]]) -> Iterator[str]:
    """A slide for each cell that is one, with the notes that follow it before the next."""
    page, run = "", iter(found)
    for cell in shown(unit):
        own = next(run) if cell.kind == "code" else []
        if cell.has("slide"):
            if page:
                yield page
            page = cell.text if cell.kind == "markdown" else _output(own)
        elif cell.has("notes"):
            page += f"\n\n{_comment(cell.text)}"
    yield page


def _exercises(unit: Unit) -> Iterator[str]:
    """A slide for each exercise, without its hints."""
    for number in unit.exercises:
        cell = unit.of(number, "exercise")
        assert isinstance(cell, Cell)
        text = re.sub(r"<details>.*?</details>", "", cell.text, flags=re.DOTALL)
        yield re.sub(r"^###", "##", text.strip())


def _output(found: Sequence[Any]) -> str:
    """What a cell put out, as it stands on a slide: its picture, or its table, or its text."""
    datas = [o.data for o in found if "data" in o]
    for data in reversed(datas):
        if "image/svg+xml" in data:
            return _picture(data["image/svg+xml"], data["text/plain"])
    for data in reversed(datas):
        if "text/html" in data:
            return f"<div class='table'>{_safe(data['text/html'])}</div>"
    said = "".join(o.text for o in found if o.get("output_type") == "stream")
    said = said or "\n".join(str(data["text/plain"]) for data in datas)
    return f"<pre>{escape(_cut(said))}</pre>"


def _picture(svg: str, says: str) -> str:
    data = base64.b64encode(svg.encode()).decode()
    return f"<img alt='{escape(says)}' src='data:image/svg+xml;base64,{data}'>"


def _cut(text: str) -> str:
    lines = text.rstrip().splitlines()
    return "\n".join(lines if len(lines) <= _LINES else [*lines[: _LINES - 1], "…"])


def _safe(table: str) -> str:
    """A table of a notebook, whose empty lines and styles would end or change a slide."""
    table = re.sub(r"<style.*?</style>", "", table, flags=re.DOTALL)
    return re.sub(r"\n\s*", "", table)


def _comment(text: str) -> str:
    """A note of the presenter."""
    return "<!--\n" + text.replace("--", "–") + "\n-->"


def main(folder: Path, chosen: Sequence[str]) -> None:
    """Write the slides of the units that are chosen, or of all."""
    folder.mkdir(parents=True, exist_ok=True)
    for unit in units():
        if not chosen or str(unit.number) in chosen:
            (folder / f"{unit.name}.md").write_text(slides(unit), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
