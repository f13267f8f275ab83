"""``python -m notebooks.making.syllabus``: the syllabus, of the headers of all units."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

from notebooks.making.unit import HERE, Unit, address, units

PAGE: Final = HERE.parent / "docs/course/index.md"
MEASURED: Final = HERE / "source/measured.json"
_HEAD: Final = """# The course

How does one find out what a language model's hidden state means, and how does one know that one
has found out? Each unit is 90 minutes of class around one notebook, which runs offline on a laptop;
{exercises} exercises check themselves (`ls.course.check("3.2", answer)`). [For the
lecturer](teaching.md) says what else there is: solutions and notes, slides, scenes of the explorer,
[a rubric](rubric.md), [ten projects](projects.md). {n} of twelve units are there.

*This page is made from the units' headers (`make course`). Computing is measured with starting and
loading, on one core of two.*

| | unit | computing |
| --- | --- | ---: |
"""


def syllabus() -> str:
    """The page."""
    measured = json.loads(MEASURED.read_text("utf-8"))
    every = units()
    page = _HEAD.format(n=_word(len(every)), exercises=sum(len(u.exercises) for u in every))
    for unit in every:
        anchor = re.sub(r"[^a-z0-9 -]", "", f"{unit.number}. {unit.title}".lower()).replace(
            " ", "-"
        )
        page += f"| {unit.number} | [{unit.title}](#{anchor}) | {measured[unit.name]} s |\n"
    page += f"| | all | {sum(measured.values())} s |\n"
    return page + "".join(map(_section, every))


def _section(unit: Unit) -> str:
    goals = "\n".join(f"- {goal}" for goal in unit.about["goals"])
    plan = "\n".join(f"| {minutes} | {part} |" for minutes, part in unit.about["class"])
    readings = "\n".join(f"- {reading}" for reading in unit.about["readings"])
    exercises = "\n".join(map(str, (_exercise(unit, number) for number in unit.exercises)))
    scene = unit.about["scene"]
    return f"""
## {unit.number}. {unit.title}

[The notebook]({address()}/blob/main/notebooks/{unit.name}.ipynb) ·
[with solutions]({address()}/blob/main/notebooks/solutions/{unit.name}.ipynb)

After it one can

{goals}

| minutes | |
| ---: | --- |
{plan}

| exercise | | difficulty | minutes |
| --- | --- | --- | ---: |
{exercises}

Readings:

{readings}

Scene: *{scene["prompt"]}*. {scene["says"]}
"""


def _exercise(unit: Unit, number: str) -> str:
    cell = unit.of(number, "exercise")
    assert cell
    title = re.match(r"### Exercise [\d.]+:? ?(.*)", cell.text)
    stars, minutes = re.search(r"★\S*", cell.text), re.search(r"\*\*Minutes\*\* (\d+)", cell.text)
    if title is None or stars is None or minutes is None:
        raise ValueError(f"exercise {number} does not say what it is")
    return f"| {number} | {title[1]} | {stars[0]} | {minutes[1]} |"


def _word(n: int) -> str:
    return {9: "Nine", 12: "All"}.get(n, str(n))


def main(page: Path = PAGE) -> None:
    """Write the page."""
    page.write_text(syllabus(), "utf-8")


if __name__ == "__main__":
    main()
