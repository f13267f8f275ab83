"""What all results have in common: how they show themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lensscope import checks
from lensscope.errors import PatchError
from lensscope.show.pages import page, rendered
from lensscope.signs import without_control
from lensscope.store.files import write

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.segment import Segment
    from rich.table import Table


class Shown(ABC):
    """A result that is a table in a terminal, a page, a picture, JSON."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What its page is called."""

    @abstractmethod
    def table(self) -> Table:
        """A table for the terminal."""

    @abstractmethod
    def section(self) -> str:
        """What it says, as a piece of HTML."""

    @abstractmethod
    def _svg(self) -> str: ...

    @abstractmethod
    def _json(self) -> str: ...

    @checks.door(PatchError)
    def to_svg(self, path: str | Path | None = None) -> str:
        """A picture as SVG, which needs no script; written to ``path`` if there is one."""
        return written(self._svg(), path)

    @checks.door(PatchError)
    def to_html(self, path: str | Path | None = None) -> str:
        """A page that needs nothing else; written to ``path`` if there is one."""
        return written(page(self.title, [self.section()]), path)

    @checks.door(PatchError)
    def to_json(self, path: str | Path | None = None) -> str:
        """All of it with provenance, as JSON; written to ``path`` if there is one."""
        return written(self._json(), path)

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(
            width=110,
            color_system=None,
            force_terminal=False,
            force_jupyter=False,
            highlight=False,
        )
        with console.capture() as captured:
            console.print(Tame(self.table()))
        return "\n".join(line.rstrip() for line in captured.get().splitlines())

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """What a notebook keeps: a page, and the table for where no page is shown."""
        return {"text/html": self._repr_html_(), "text/plain": str(self)}

    def _repr_html_(self) -> str:
        return rendered("piece.html", title=self.title, section=self.section())


class Tame:
    """Something that rich shows, without the control characters of what is in it.

    Args:
        inner: what is shown.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        from rich.segment import Segment

        for part in console.render(self.inner, options):
            yield Segment(without_control(part.text), part.style, part.control)


def written(text: str, path: str | Path | None) -> str:
    """A text, written to a file if there is one."""
    if path is not None:
        write(path, text)
    return text
