"""Readers side by side: raw and trained, beside what they say of another state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lensscope.signs import short

if TYPE_CHECKING:
    from rich.table import Table

_LAYERS: Final = (0, 4, 8, 12, 16, 20, 24, 28)
_TEXTS: Final = 8
_WIDTH: Final = 34


def side_by_side(model: Any, name: str) -> Table:
    """What the raw and the trained reader say of a name inside a sentence, and the trained one of
    another state."""
    from lensscope.patchscope.controls import controlled
    from lensscope.patchscope.scope import Patchscope
    from lensscope.show.terminal import table_of
    from lensscope.studies.texts import texts_of

    texts = [str(text) for text in texts_of(None)[:_TEXTS]]
    found = {
        reader: controlled(
            scope, model, f"I have read about {name}", layers=_LAYERS, texts=texts, stop=(".", "\n")
        )
        for reader, scope in (
            ("raw", Patchscope.definition()),
            ("trained", Patchscope.tuned(model)),
        )
    }
    said = {
        (reader, kind): own.frame().query("condition == @kind").set_index("source_layer")["text"]
        for reader, own in found.items()
        for kind in ("state", "other")
    }
    columns = {
        "raw": ("raw", "state"),
        "trained": ("trained", "state"),
        "trained, of another state": ("trained", "other"),
    }
    rows = [
        [
            str(layer),
            *(short(said[own][layer], _WIDTH) for own in columns.values()),
        ]
        for layer in _LAYERS
    ]
    return table_of(
        f"I have read about {name} …: the name is",
        ["layer", *columns],
        rows,
        notes=[
            f"Written into the input of block 2 of {found['raw'].result.inspection!r}. The other "
            f"state is of the last token of {found['raw'].other!r}: where the trained reader says "
            "the same of it, what it says of the name is its own."
        ],
        numbers=[0],
    )
