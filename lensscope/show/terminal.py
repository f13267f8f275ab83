"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


def table_of(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any] | None],
    *,
    caption: str = "",
    notes: Sequence[str] = (),
    numbers: Container[int] = (),
    min_width: int | None = None,
) -> Table:
    """A table that rich shows; no text in it is taken for markup.

    Args:
        title: above it.
        columns: their names.
        rows: a text for each column, or one of rich with its style; ``None`` begins a section.
        caption: below it.
        notes: lines below the caption.
        numbers: the columns of numbers, which stand to the right.
        min_width: in characters.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    below = "\n".join([*filter(None, [caption]), *notes])
    table = Table(
        title=Text(title),
        caption=Text(below) if below else None,
        box=box.SIMPLE_HEAD,
        min_width=min_width,
    )
    for n, name in enumerate(columns):
        table.add_column(Text(name), justify="right" if n in numbers else "left")
    for row in rows:
        if row is None:
            table.add_section()
        else:
            table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    return table
