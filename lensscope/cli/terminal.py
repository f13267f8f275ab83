"""What the commands have in common: their options, what they say, how they fail."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lensscope.signs import without_control

if TYPE_CHECKING:
    from rich.table import Table


class BackendChoice(str, Enum):
    """TransformerLens classes."""

    bridge = "bridge"
    hooked = "hooked"


class ProcessingChoice(str, Enum):
    """Weight processing."""

    raw = "raw"
    folded = "folded"


ModelName = Annotated[str, typer.Option(help="demo, a Hub id, a folder, or a .gguf file.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no table.")]
Chat = Annotated[
    bool, typer.Option("--chat", help="The prompt is what a user says, by the chat template.")
]
Html = Annotated[Path | None, typer.Option("--html", help="Write a page to this file.")]
Json = Annotated[
    str | None, typer.Option("--json", help="Write JSON to this file, or - for stdout.")
]
Svg = Annotated[
    Path | None, typer.Option(help="Write the picture to this file: .svg, .png or .pdf.")
]


@dataclass(frozen=True)
class Loading:
    """How a model is loaded."""

    backend: Annotated[BackendChoice, typer.Option()] = BackendChoice.bridge
    processing: Annotated[ProcessingChoice, typer.Option()] = ProcessingChoice.raw


@dataclass(frozen=True)
class Output:
    """Where what is found goes."""

    html: Html = None
    json: Json = None
    quiet: Quiet = False


def load(model: str, how: Loading, quiet: bool) -> Any:
    """The model that was named."""
    from lensscope.model.loading import load_model

    say(quiet, f"Loading {model} …")
    return load_model(model, backend=how.backend.value, processing=how.processing.value)


def deliver(result: Any, output: Output) -> None:
    """A result as a page, as JSON, as a table, as far as they were asked for."""
    if output.html is not None:
        result.to_html(output.html)
        say(output.quiet, f"Page written to {output.html}")
    if output.json == "-":
        print(result.to_json())
    elif output.json is not None:
        result.to_json(output.json)
        say(output.quiet, f"JSON written to {output.json}")
    if not output.quiet and output.json != "-":
        print_table(result)


def said(prompt: str, chat: bool) -> Any:
    """A prompt as it is, or as what a user says in a conversation."""
    from lensscope.values.chats import chat as talk

    return talk(prompt) if chat else prompt


def picture(result: Any, path: Path | None, quiet: bool, **drawn: Any) -> None:
    """A picture of a result, if there is a file for it, of the kind that its name says."""
    if path is not None:
        kinds = {".png": result.to_png, ".pdf": result.to_pdf}
        kinds.get(path.suffix.lower(), result.to_svg)(path, **drawn)
        say(quiet, f"Picture written to {path}")


def position_of(text: str) -> Any:
    """A position from what is written on a command line."""
    from lensscope.values.positions import ALL, span

    if text == "all":
        return ALL
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    if re.fullmatch(r"(-?\d+)?:(-?\d+)?", text):
        return slice(*(int(part) if part else None for part in text.split(":")))
    return span(text.removeprefix("span:")) if text.startswith("span:") else text


def numbers_of(text: str) -> list[int]:
    """Layers from what is written on a command line."""
    try:
        if ":" in text:
            start, stop = text.split(":")
            return list(range(int(start or 0), int(stop)))
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise usage(f"{text!r} is not a list of layers", "write all, 3,5 or 0:12") from error


def usage(what: str, instead: str) -> typer.BadParameter:
    """A mistake on the command line."""
    return typer.BadParameter(f"{what}; {instead}")


def print_table(result: Any) -> None:
    """A result as a table in the terminal."""
    print_shown(result.table())


def print_shown(table: Table) -> None:
    """A table in the terminal."""
    from rich.console import Console

    from lensscope.show.showing import Tame

    Console(highlight=False).print(Tame(table))


def say(quiet: bool, text: str) -> None:
    """Tell how it goes, on standard error."""
    if not quiet:
        print(without_control(text), file=sys.stderr)


@contextmanager
def errors(quiet: bool) -> Iterator[None]:
    """The user's mistakes as one message and exit code 2; no traceback."""
    from lensscope.errors import LensscopeError
    from lensscope.progress import be_quiet

    be_quiet(quiet)
    try:
        yield
    except LensscopeError as error:
        print(f"lensscope: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        print("lensscope: interrupted", file=sys.stderr)
        raise typer.Exit(130) from None
