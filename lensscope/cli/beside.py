"""Readers side by side: raw and trained, beside what they say of another state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lensscope.signs import short

if TYPE_CHECKING:
    from rich.table import Table

_LAYERS: Final = (0, 4, 8, 12, 16, 20, 24, 28)
_WIDTH: Final = 34


def side_by_side(model: Any, name: str) -> Table:
    """What the raw and the trained reader say of a name inside a sentence, and the trained one of
    another state."""
    from lensscope.patchscope.scope import Patchscope
    from lensscope.show.terminal import table_of
    from lensscope.studies.texts import texts_of

    raw, trained = Patchscope.definition(), Patchscope.tuned(model)
    own, other = f"I have read about {name}", str(texts_of(None)[0])
    columns = {
        "raw": (raw, own),
        "trained": (trained, own),
        "trained, of another state": (trained, other),
    }
    said = [
        scope.inspect(model, text, layers=_LAYERS, stop=(".", "\n")).frame()["text"]
        for scope, text in columns.values()
    ]
    rows = [
        [str(layer), *(short(text, _WIDTH) for text in texts)]
        for layer, *texts in zip(_LAYERS, *said, strict=True)
    ]
    return table_of(
        f"{own} …: the name is",
        ["layer", *columns],
        rows,
        notes=[
            f"Written into the input of block 2 of {raw.inspection.text!r}. The other state is of "
            f"the last token of {other!r}: what the trained reader says of it too is not of the "
            "name."
        ],
        numbers=[0],
    )
