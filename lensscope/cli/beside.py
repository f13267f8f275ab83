"""Readers side by side: raw and trained, beside what they say of another state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from lensscope.signs import short

if TYPE_CHECKING:
    from rich.table import Table

    from lensscope.patchscope.scope import Patchscope

_LAYERS: Final = (0, 4, 8, 12, 16, 20, 24, 28)
_WIDTH: Final = 34


def side_by_side(model: Any, names: Sequence[str]) -> Iterator[Table]:
    """For each name inside a sentence, what the raw and the trained reader say of it, and the
    trained one of another state."""
    from lensscope.patchscope.scope import Patchscope
    from lensscope.show.terminal import table_of
    from lensscope.studies.texts import texts_of

    raw, trained = Patchscope.definition(), Patchscope.tuned(model)
    sentences, other = [f"I have read about {name}" for name in names], str(texts_of(None)[0])

    def said(scope: Patchscope, texts: list[str]) -> list[list[str]]:
        found = scope.inspect(model, texts, layers=_LAYERS, stop=(".", "\n")).data.text
        return found.isel(position=0).transpose("prompt", "source_layer").values.tolist()

    (control,) = said(trained, [other])
    each = zip(sentences, said(raw, sentences), said(trained, sentences), strict=True)
    for sentence, *texts in each:
        columns = (map(str, _LAYERS), *texts, control)
        rows = [[short(text, _WIDTH) for text in row] for row in zip(*columns, strict=True)]
        yield table_of(
            f"{sentence} …: the name is",
            ["layer", "raw", "trained", "trained, of another state"],
            rows,
            notes=[
                f"Written into the input of block 2 of {raw.inspection.text!r}. The other state is "
                f"of the last token of {other!r}: what the trained reader says of it too is not of "
                "the name."
            ],
            numbers=[0],
        )
