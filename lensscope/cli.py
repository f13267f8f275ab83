"""The ``lensscope`` command. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from lensscope.patchscope import Patchscope

app = typer.Typer(
    help="Let a language model explain its own hidden states.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

DEMO_ENTITIES = ("Diana, Princess of Wales", "Jurassic Park", "Alexander the Great")


class Preset(str, Enum):
    """Inspection prompts with a name."""

    entity_description = "entity-description"
    token_identity = "token-identity"
    attribute = "attribute"
    selfie = "selfie"


class BackendChoice(str, Enum):
    """TransformerLens classes."""

    bridge = "bridge"
    hooked = "hooked"


class ProcessingChoice(str, Enum):
    """Weight processing."""

    raw = "raw"
    folded = "folded"


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no table.")]
Html = Annotated[Path | None, typer.Option("--html", help="Write a page to this file.")]
Json = Annotated[
    str | None, typer.Option("--json", help="Write JSON to this file, or - for stdout.")
]


@app.command()
def demo(
    html: Annotated[Path, typer.Option(help="Where the page goes.")] = Path("lensscope-demo.html"),
    quiet: Quiet = False,
) -> None:
    """What a real model thinks three names are, layer by layer, beside the logit lens."""
    with _errors(quiet):
        _say(quiet, "Loading the demo model …")
        from lensscope.models import load_model
        from lensscope.patchscope import Patchscope
        from lensscope.report import page, patchscope_section

        model = load_model()
        scope = Patchscope.entity_description()
        sections = []
        for entity in DEMO_ENTITIES:
            _say(quiet, f"Inspecting {entity!r} at every layer …")
            result = scope.inspect(model, entity)
            sections.append(patchscope_section(result))
            if not quiet:
                _print_table(result)
        _write(html, page("What the model thinks these are", sections))
        print(f"Page written to {html}")


@app.command()
def inspect(
    source: Annotated[str, typer.Option(help="The source prompt.")],
    model: Annotated[str, typer.Option(help="demo, a Hub id, a folder, or a .gguf file.")] = "demo",
    position: Annotated[
        str, typer.Option(help="-1, 2:5, a substring (its last token), span:TEXT, or all.")
    ] = "-1",
    occurrence: Annotated[
        int | None, typer.Option(help="Which match of a substring: 0 the first, -1 the last.")
    ] = None,
    preset: Annotated[Preset, typer.Option(help="The inspection prompt.")] = (
        Preset.entity_description
    ),
    text: Annotated[
        str | None,
        typer.Option(help="The inspection prompt itself, with its placeholder (for attribute)."),
    ] = None,
    placeholder: Annotated[str | None, typer.Option(help="What marks the place to write.")] = None,
    layers: Annotated[str, typer.Option(help="Source layers: all, or 3,5, or 0:12.")] = "all",
    target_layers: Annotated[str, typer.Option(help="same, all, or 3,5.")] = "same",
    max_new_tokens: Annotated[int | None, typer.Option(help="New tokens for each cell.")] = None,
    backend: Annotated[BackendChoice, typer.Option()] = BackendChoice.bridge,
    processing: Annotated[ProcessingChoice, typer.Option()] = ProcessingChoice.raw,
    html: Html = None,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Read hidden states of a prompt and let the model describe each."""
    with _errors(quiet):
        where = _position(position)
        targets = target_layers if target_layers in ("same", "all") else _numbers(target_layers)
        sources = None if layers == "all" else _numbers(layers)
        if preset is Preset.attribute and text is None:
            raise _usage(
                "--preset attribute needs --text", 'such as --text "The largest city in x"'
            )
        _say(quiet, f"Loading {model} …")
        from lensscope.models import load_model

        loaded = load_model(model, backend=backend.value, processing=processing.value)
        result = _scope(preset, text, placeholder).inspect(
            loaded,
            source,
            position=where,
            occurrence=occurrence,
            layers=sources,
            target_layers=targets,  # type: ignore[arg-type]
            max_new_tokens=max_new_tokens,
        )
        if html is not None:
            _write(html, result.to_html())
            _say(quiet, f"Page written to {html}")
        if json == "-":
            print(result.to_json())
        elif json is not None:
            _write(Path(json), result.to_json())
            _say(quiet, f"JSON written to {json}")
        if not quiet and json != "-":
            _print_table(result)


@app.command()
def models() -> None:
    """Models at hand: the demo model, the Hub's local cache, and what TransformerLens supports."""
    with _errors(quiet=False):
        from lensscope.models import at_hand

        for line in at_hand():
            print(line)


def _scope(preset: Preset, text: str | None, placeholder: str | None) -> Patchscope:
    from dataclasses import replace

    from lensscope.inspection import InspectionPrompt
    from lensscope.patchscope import Patchscope

    if preset is Preset.attribute:
        return Patchscope.attribute(text or "", placeholder or "x")
    scope: Patchscope = getattr(Patchscope, preset.name)()
    if text is None and placeholder is None:
        return scope
    own = scope.inspection
    return replace(
        scope, inspection=InspectionPrompt(text or own.text, placeholder or own.placeholder)
    )


def _position(text: str) -> Any:
    from lensscope.positions import ALL, span

    if text == "all":
        return ALL
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    if re.fullmatch(r"(-?\d+)?:(-?\d+)?", text):
        return slice(*(int(part) if part else None for part in text.split(":")))
    return span(text.removeprefix("span:")) if text.startswith("span:") else text


def _numbers(text: str) -> list[int]:
    try:
        if ":" in text:
            start, stop = text.split(":")
            return list(range(int(start or 0), int(stop)))
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise _usage(f"{text!r} is not a list of layers", "write all, 3,5 or 0:12") from error


def _usage(what: str, instead: str) -> typer.BadParameter:
    return typer.BadParameter(f"{what}; {instead}")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise _usage(f"{path} cannot be written ({error.strerror})", "name another file") from error


def _print_table(result: Any) -> None:
    from rich.console import Console

    Console(highlight=False).print(result.table())


def _say(quiet: bool, text: str) -> None:
    if not quiet:
        print(text, file=sys.stderr)


@contextmanager
def _errors(quiet: bool) -> Iterator[None]:
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


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
