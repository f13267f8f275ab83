"""What all results have in common: how they show themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, AnyStr

from lensscope import checks
from lensscope.errors import PatchError
from lensscope.show.figures import pdf, png
from lensscope.show.pages import page, rendered
from lensscope.show.picture import Picture
from lensscope.signs import without_control
from lensscope.store.files import write

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console, ConsoleOptions
    from rich.segment import Segment
    from rich.table import Table


class Tabled(ABC):
    """A result that is a table."""

    @abstractmethod
    def frame(self) -> pd.DataFrame:
        """The table, tidy: a line a cell."""

    def _printed(self) -> tuple[pd.DataFrame, str]:
        """The table as it is printed, and what its numbers are of."""
        return self.frame(), ""

    @checks.door(PatchError)
    def to_markdown(self, path: str | Path | None = None) -> str:
        """The table in Markdown: numbers rounded, with their intervals in one cell, and of a long
        text its ends; `frame` has all of it. Written to ``path`` if there is one."""
        from lensscope.show.tables import markdown  # not before: pandas comes with it

        return written(markdown(self._printed()[0]), path)

    @checks.door(PatchError)
    def to_latex(self, path: str | Path | None = None) -> str:
        """The same as a ``tabular`` of LaTeX (booktabs); written to ``path`` if there is one."""
        from lensscope.show.tables import latex

        return written(latex(*self._printed()), path)


class Shown(Tabled):
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

    @checks.door(PatchError, scale=checks.real(0.1, 10, instead=2))
    def to_png(
        self, path: str | Path | None = None, scale: float = 2, *chosen: Any, **drawn: Any
    ) -> bytes:
        """The same picture as PNG; written to ``path`` if there is one.

        Args:
            path: where to.
            scale: dots for each unit of the SVG: 1 for a screen of old, 2 for a sharp one, 4 for
                print.
            *chosen: what else `to_svg` takes, in order.
            **drawn: and by name.

        Raises:
            FileError: what draws it is not installed: the extra ``figures``.
        """
        return written(png(self.to_svg(None, *chosen, **drawn), scale), path)

    @checks.door(PatchError)
    def to_pdf(self, path: str | Path | None = None, *chosen: Any, **drawn: Any) -> bytes:
        """The same picture as a page of PDF, its text as text; written to ``path`` if there is one.

        Args:
            path: where to.
            *chosen: what else `to_svg` takes, in order.
            **drawn: and by name.

        Raises:
            FileError: what draws it is not installed: the extra ``figures``.
        """
        return written(pdf(self.to_svg(None, *chosen, **drawn)), path)

    def picture(self, *chosen: Any, **drawn: Any) -> Picture:
        """The same picture for a notebook, which keeps it as SVG and, where the extra ``figures``
        is installed, as PNG.

        Args:
            *chosen: what else `to_svg` takes, in order.
            **drawn: and by name.
        """
        return Picture(self.to_svg(None, *chosen, **drawn), self.title)

    @checks.door(PatchError)
    def to_html(self, path: str | Path | None = None) -> str:
        """A page that needs nothing else; written to ``path`` if there is one."""
        return written(page(self.title, [self.section()]), path)

    @checks.door(PatchError)
    def to_json(self, path: str | Path | None = None) -> str:
        """All of it with provenance, as JSON; written to ``path`` if there is one."""
        return written(self._json(), path)

    def _printed(self) -> tuple[pd.DataFrame, str]:
        return self.frame(), self.title

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


def written(content: AnyStr, path: str | Path | None) -> AnyStr:
    """A text or bytes, written to a file if there is one."""
    if path is not None:
        write(path, content)
    return content
