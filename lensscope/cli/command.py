"""The ``lensscope`` command. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import codecs
import io
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lensscope.cli.beside import side_by_side
from lensscope.cli.circuit import circuit
from lensscope.cli.explore import explore
from lensscope.cli.grouped import grouped
from lensscope.cli.inspecting import inspect, read
from lensscope.cli.lenses import compare, lens_app
from lensscope.cli.patching import patch, trace
from lensscope.cli.readers import best_block, train_reader
from lensscope.cli.reading_study import reading_quality
from lensscope.cli.report import report
from lensscope.cli.studies import study_app
from lensscope.cli.terminal import (
    Json,
    Loading,
    Quiet,
    errors,
    load,
    print_shown,
    print_table,
    say,
)
from lensscope.store.files import write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from lensscope.model.known_models import Known

app = typer.Typer(
    help="Let a language model explain its own hidden states.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _told(version: bool) -> bool:
    """Say the versions, and end, if that is asked."""
    if version:
        from lensscope.values.provenance import versions_here

        print("python", sys.version.split()[0])
        for name, each in versions_here().items():
            print(name, each)
        raise typer.Exit
    return version


@app.callback()
def beginning(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_told, is_eager=True, help="Versions of what results depend on."
        ),
    ] = False,
) -> None:
    """Let a language model explain its own hidden states."""


app.add_typer(lens_app, name="lens")
app.add_typer(study_app, name="study")
study_app.command("reading-quality")(reading_quality)
_COMMANDS = [explore, inspect, read, train_reader, best_block, compare, patch, trace, circuit]
for command in (*_COMMANDS, report):
    app.command()(command)

_MODELS_SHOWN = 40
_TOKENS = 14
"""Of a description in the demo: its own, and the beginning of the next one."""
DEMO_ENTITIES = ("Diana, Princess of Wales", "Jurassic Park", "Alexander the Great")


@app.command()
def demo(
    html: Annotated[Path, typer.Option(help="Where the page goes.")] = Path("lensscope-demo.html"),
    quiet: Quiet = False,
) -> None:
    """What a real model thinks three names are, layer by layer, beside the logit lens; and, inside
    a sentence, in the words of a raw and of a trained reader, beside those of another state."""
    with errors(quiet):
        say(quiet, "Loading the demo model …")
        from lensscope.model.loading import load_model
        from lensscope.patchscope.scope import Patchscope
        from lensscope.show.pages import page

        model = load_model()
        say(quiet, "Inspecting three names at every layer …")
        scope = Patchscope.entity_description()
        tokens = min(scope.max_new_tokens, _TOKENS)
        result = scope.inspect(model, list(DEMO_ENTITIES), max_new_tokens=tokens)
        if not quiet:
            for n in range(len(DEMO_ENTITIES)):
                print_table(replace(result, data=result.data.isel(prompt=[n])))
            say(quiet, "Reading them inside a sentence, raw and trained …")
            for table in side_by_side(model, DEMO_ENTITIES):
                print_shown(table)
        write(html, page("What the model thinks these are", [result.section()]))
        print(f"Page written to {html}")


@app.command()
@grouped
def models(
    *,
    text: Annotated[
        str, typer.Argument(help="Words in names or architectures: all models that have them.")
    ] = "",
    check: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Load this model and print what it can do."),
    ] = None,
    loading: Loading,
    json: Json = None,
) -> None:
    """Models at hand, the demo model and the Hub's local cache; with TEXT, also those that
    TransformerLens knows by name."""
    with errors(quiet=False):
        if check is not None:
            from lensscope.engine.support import support

            print(support(load(check, loading, quiet=False)))
            return
        from dataclasses import asdict

        from lensscope.model.known_models import architectures, search
        from lensscope.store.json_text import json_text

        found = search(text)
        if json is not None:
            rows = json_text([asdict(one) for one in found])
            print(rows) if json == "-" else write(Path(json), rows)
            return
        print_shown(_models_table(found))
        if not text:
            print(
                "lensscope models TEXT searches all that TransformerLens knows, of these "
                f"architectures: {', '.join(architectures())}"
            )


def _models_table(found: Sequence[Known]) -> Table:
    from rich.text import Text

    from lensscope.show.terminal import table_of

    left = len(found) - _MODELS_SHOWN
    return table_of(
        f"{len(found)} model{'s' * (len(found) != 1)}",
        ["name", "architecture", "parameters", "loads with", "where"],
        [
            [Text(m.name, overflow="fold"), m.architecture, m.parameters, m.loads_with, m.where]
            for m in found[:_MODELS_SHOWN]
        ],
        caption=f"and {left} more; --json - lists all" if left > 0 else "",
    )


def main() -> None:
    """Entry point: whatever the machine refuses is one message and exit code 2."""
    _print_what_cannot_be_printed()
    try:
        _check_working_folder()
        app()
    except OSError as error:
        what = f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
        print(f"lensscope: {what}", file=sys.stderr)
        raise SystemExit(2) from None


def _check_working_folder() -> None:
    """Say so where it was deleted: torch would end the process with a message of its own."""
    try:
        os.getcwd()
    except OSError as error:
        raise OSError("the working folder was deleted; go to one that is there: cd ~") from error


def _print_what_cannot_be_printed() -> None:
    """Show characters that the output cannot show by their number, as JSON has them."""
    codecs.register_error("lensscope", _by_number)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="lensscope")


def _by_number(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    numbers = (int.from_bytes(units[n : n + 2], "big") for n in range(0, len(units), 2))
    return "".join(f"\\u{number:04x}" for number in numbers), error.end


if __name__ == "__main__":
    main()
