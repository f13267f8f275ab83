"""Each unit is run from its first cell to its last, with empty, wrong and right answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from notebooks.making.running import run
from notebooks.making.unit import Unit, units


@pytest.mark.parametrize("unit", units(), ids=lambda unit: unit.name)
def test_a_unit_runs_and_its_checks_know_right_from_wrong(
    unit: Unit, record_property: Callable[[str, Any], None]
):
    ran = run(unit)
    record_property("unit", f"{unit.name:36} {ran.seconds:4.0f} s")
    assert set(ran.remarks) == set(unit.exercises)
    for number, remarks in ran.remarks.items():
        assert len(remarks) >= 2, f"{number} has too few wrong answers"
    assert ran.seconds < 300
