"""The command ``report``: what a study's folder says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lensscope.cli.terminal import Json, Output, Quiet, deliver, errors, say
from lensscope.store.files import write


def report(
    folder: Annotated[Path, typer.Argument(help="What a study wrote, finished or not.")],
    html: Annotated[
        Path | None, typer.Option(help="The page; report.html in the folder by default.")
    ] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the table as Markdown.")] = None,
    latex: Annotated[Path | None, typer.Option(help="Write the table as LaTeX.")] = None,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """The page and the tables of a study, from its folder alone: no model is loaded."""
    with errors(quiet):
        from lensscope import studies

        result = studies.load(folder)
        for path, text in ((markdown, result.to_markdown), (latex, result.to_latex)):
            if path is not None:
                write(path, text())
                say(quiet, f"Table written to {path}")
        deliver(result, Output(html or folder / "report.html", json, quiet))
