"""``python -m notebooks.making [3 4 …]``: run units, and write their notebooks with outputs.

``--try`` writes nothing. What was measured goes into ``source/measured.json`` and, of all
units, into the syllabus.
"""

from __future__ import annotations

import json
import sys

import nbformat

from notebooks.making import syllabus
from notebooks.making.running import run
from notebooks.making.syllabus import MEASURED
from notebooks.making.unit import HERE, Unit, units
from notebooks.making.versions import instructor, student


def main(chosen: list[str]) -> None:
    wanted = {int(each) for each in chosen if each.isdigit()}
    for unit in units():
        if not wanted or unit.number in wanted:
            made(unit, write="--try" not in chosen)
    if not wanted and "--try" not in chosen:
        syllabus.main()


def made(unit: Unit, *, write: bool) -> None:
    """Run a unit, say how long it took, and write its notebooks."""
    ran = run(unit)
    print(f"{unit.name}: {ran.seconds:.0f} s", flush=True)
    for seconds, line in ran.slowest[:3]:
        print(f"    {seconds:5.1f} s  {line}")
    for remarks in ran.remarks.values():
        print("\n".join(f"    {remark}" for remark in remarks))
    if write:
        solutions = instructor(unit, ran.outputs)
        nbformat.write(solutions, HERE / "solutions" / f"{unit.name}.ipynb")
        nbformat.write(student(unit, ran.outputs), HERE / f"{unit.name}.ipynb")
        measured = json.loads(MEASURED.read_text("utf-8")) if MEASURED.exists() else {}
        measured[unit.name] = round(ran.seconds)
        MEASURED.write_text(json.dumps(dict(sorted(measured.items())), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
