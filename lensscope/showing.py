"""What all results have in common: how they show themselves."""

from __future__ import annotations

import html
import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lensscope.store import write

if TYPE_CHECKING:
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

    def to_svg(self, path: str | Path | None = None) -> str:
        """A picture as SVG, which needs no script; written to ``path`` if there is one."""
        return written(self._svg(), path)

    def to_html(self, path: str | Path | None = None) -> str:
        """A page that needs nothing else; written to ``path`` if there is one."""
        from lensscope.report import page

        return written(page(self.title, [self.section()]), path)

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
            console.print(self.table())
        return "\n".join(line.rstrip() for line in captured.get().splitlines())

    def _repr_html_(self) -> str:
        from lensscope.report import STYLE

        return f"<style>{STYLE}</style><div class='lensscope'>{self.section()}</div>"


_PICTURES = {n: chr(0x2400 + n) for n in range(0x20) if chr(n) not in "\n\t"}
_PICTURES |= dict.fromkeys(range(0x7F, 0xA0), "␡")
_NO_XML: Final = re.compile("[\ud800-\udfff\ufffe\uffff]")


def without_control(text: str) -> str:
    """A text with a picture in place of each control character but line breaks and tabs, and
    ``<0xD83D>`` for what is no character: they are no XML, and a terminal would obey them."""
    return _NO_XML.sub(lambda m: f"<0x{ord(m[0]):04X}>", text.translate(_PICTURES))


def escape(text: str, quote: bool = True) -> str:
    """A text as it stands in SVG, HTML and XML, whatever is in it."""
    return html.escape(without_control(text), quote)


def written(text: str, path: str | Path | None) -> str:
    """A text, written to a file if there is one."""
    if path is not None:
        write(path, text)
    return text
