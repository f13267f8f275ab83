"""The Python of a page: its blocks, in order, each with what it is said to print.

A block is fenced as ``python``. Where a block fenced as ``text`` follows it at once, that is what
it prints, as a doctest has it (``...`` for anything). A block with ``title="not run …"`` needs what
a test has not, and is only compiled.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_FENCE: Final = re.compile(
    r"^(?P<indent> *)```python(?P<info>[^\n]*)\n(?P<code>.*?)^(?P=indent)```\n"
    r"(?:\n(?P=indent)```text\n(?P<out>.*?)^(?P=indent)```\n)?",
    re.M | re.S,
)
_FLAGS: Final = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Block:
    """A piece of Python on a page.

    Attributes:
        page: the page.
        line: where on it.
        code: the code.
        prints: what the page says that it prints; ``None`` where it does not say.
        runs: whether it is run.
    """

    page: Path
    line: int
    code: str
    prints: str | None
    runs: bool

    @property
    def name(self) -> str:
        return f"{self.page.name}:{self.line}"

    def run(self, namespace: dict[str, Any], folder: Path) -> None:
        """Run it in a folder.

        Raises:
            AssertionError: it prints something else than the page says.
        """
        compiled = compile("\n" * self.line + self.code, str(self.page), "exec")
        if not self.runs:
            return
        said = io.StringIO()
        back = Path.cwd()
        os.chdir(folder)
        try:
            with contextlib.redirect_stdout(said):
                exec(compiled, namespace)
        finally:
            os.chdir(back)
        if self.prints is not None:
            checker = doctest.OutputChecker()
            if not checker.check_output(self.prints, said.getvalue(), _FLAGS):
                raise AssertionError(
                    f"{self.name} should print\n{self.prints}\nand prints\n{said.getvalue()}"
                )


def blocks(page: Path) -> Iterator[Block]:
    """The Python blocks of a page, in order."""
    text = page.read_text("utf-8")
    for found in _FENCE.finditer(text):
        indent = len(found["indent"])
        lines = [line[indent:] for line in found["code"].splitlines()]
        line = text.count("\n", 0, found.start()) + 1
        runs = "not run" not in found["info"]
        yield Block(page, line, "\n".join(lines) + "\n", found["out"], runs)
