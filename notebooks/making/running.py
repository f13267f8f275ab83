"""Running a unit as a student would: cell by cell, answers and wrong answers too."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from notebooks.making.unit import HERE, Cell, Unit
from notebooks.making.versions import checked, shown, stub_text

_WRONG = """
for each in wrong:
    verdict = ls.course.check("{number}", each)
    assert verdict.right is False, f"{number}: {{each!r}} is taken for right: {{verdict}}"
    print(verdict)
"""
_RIGHT = "\nassert {check}, {check}\nprint({check})"
_OPEN = "\nassert {check}.right is not True, 'the stub is right'"


@dataclass
class Ran:
    """What came of running a unit.

    Attributes:
        outputs: of each code cell of the version with solutions, in order.
        seconds: in all, and of the slowest cells.
        remarks: what was said of each wrong answer, by exercise.
    """

    outputs: list[list[Any]] = field(default_factory=list)
    seconds: float = 0.0
    slowest: list[tuple[float, str]] = field(default_factory=list)
    remarks: dict[str, list[str]] = field(default_factory=dict)


def run(unit: Unit) -> Ran:
    """Run a unit: where an exercise comes, the student's empty cell is tried (no answer yet), then
    each wrong answer (refused), then the solution (right).

    Raises:
        nbclient.exceptions.CellExecutionError: a cell fails, or a check says the wrong thing.
    """
    ran, wrongs = Ran(), {c.exercise: c for c in unit.cells if c.has("wrong")}
    begun = time.perf_counter()
    with _kernel() as execute:
        for cell in shown(unit):
            if cell.kind != "code":
                continue
            if not cell.has("solution"):
                ran.outputs.append(_timed(execute, cell.text, ran))
                continue
            number = cell.exercise
            execute(_without_check(stub_text(unit, number)) + _OPEN.format(check=checked(number)))
            ran.outputs.append(_timed(execute, f"{cell.text}\n\n{checked(number)}", ran))
            execute(_RIGHT.format(check=checked(number)))
            ran.remarks[number] = _said(execute, number, wrongs.get(number))
    ran.seconds = time.perf_counter() - begun
    ran.slowest.sort(reverse=True)
    return ran


def _said(execute: Any, number: str, wrong: Cell | None) -> list[str]:
    if wrong is None:
        raise ValueError(f"exercise {number} has no wrong answers to try")
    out = execute(wrong.text + _WRONG.format(number=number))
    return "".join(o.text for o in out if o.output_type == "stream").splitlines()


def _timed(execute: Any, text: str, ran: Ran) -> list[Any]:
    begun = time.perf_counter()
    found: list[Any] = execute(text)
    ran.slowest.append((time.perf_counter() - begun, text.splitlines()[0]))
    return found


def _without_check(text: str) -> str:
    return text.rsplit("\n", 1)[0]


@contextmanager
def _kernel() -> Iterator[Any]:
    """A kernel as JupyterLab would start it, in the folder of the notebooks."""
    notebook = new_notebook()
    client = NotebookClient(notebook, timeout=900, kernel_name="python3")
    env = {**os.environ, "TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore:IProgress not found"}
    client.create_kernel_manager()
    with client.setup_kernel(cwd=str(HERE), env=env):

        def execute(text: str) -> list[Any]:
            cell = new_code_cell(text)
            notebook.cells.append(cell)
            client.execute_cell(cell, len(notebook.cells) - 1)
            return [_clean(output) for output in cell.outputs if output.get("name") != "stderr"]

        yield execute


def _clean(output: Any) -> Any:
    """An output without what differs from run to run."""
    output = nbformat.from_dict(dict(output))
    if "execution_count" in output:
        output["execution_count"] = None
    return output
