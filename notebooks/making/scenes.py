"""``python -m notebooks.making.scenes FOLDER``: the explorer's scenes, each in a file, no model.

``--record [3 4 …]`` asks the demo model first, which takes minutes, and keeps what it answered in
``notebooks/scenes``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lensscope.explorer.page import recorded_page
from lensscope.explorer.record import checked
from notebooks.making.unit import HERE, Unit, units

SCENES: Final = HERE / "scenes"


def record(chosen: Sequence[str]) -> None:
    """Ask the demo model what each unit's scene shows."""
    import lensscope as ls

    model = ls.load_model()
    for unit in units():
        if not chosen or str(unit.number) in chosen:
            scene = unit.about["scene"]
            explorer = ls.explore(model, scene["prompt"])
            state = explorer.record(scene["prompt"], scene["position"])
            SCENES.mkdir(exist_ok=True)
            explorer.export(recording(unit), state)


def recording(unit: Unit) -> Path:
    """Where a unit's answers lie."""
    return SCENES / f"{unit.name}.json"


def recorded_prompt(unit: Unit) -> str:
    """The prompt that was asked about."""
    return str(json.loads(recording(unit).read_text("utf-8"))["state"]["prompt"])


def page(unit: Unit) -> str:
    """A unit's scene, as one file that needs nothing."""
    return recorded_page(checked(json.loads(recording(unit).read_text("utf-8"))))


def main(folder: Path) -> None:
    """Write all scenes."""
    folder.mkdir(parents=True, exist_ok=True)
    for unit in units():
        (folder / f"{unit.name}.html").write_text(page(unit), "utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "--record":
        record(sys.argv[2:])
    else:
        main(Path(sys.argv[1]))
