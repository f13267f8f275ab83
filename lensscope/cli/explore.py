"""``lensscope explore``: a model to be looked at in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lensscope.cli.grouped import grouped
from lensscope.cli.terminal import Loading, ModelName, Quiet, errors, load, say


@grouped
def explore(
    *,
    model: ModelName = "demo",
    prompt: Annotated[str | None, typer.Option(help="What is looked at first.")] = None,
    reader: Annotated[
        list[str] | None,
        typer.Option(help="A trained reader: tuned, or a path. May be given again."),
    ] = None,
    lens: Annotated[
        list[str] | None,
        typer.Option(
            help="logit, affine (fitted once), token-identity, or a path. May be given again."
        ),
    ] = None,
    port: Annotated[int | None, typer.Option(help="A free one near 8228 by default.")] = None,
    host: Annotated[
        str | None,
        typer.Option(help="Listen elsewhere than at this machine alone; the URL gets a token."),
    ] = None,
    open: Annotated[bool, typer.Option("--open", help="Open the browser.")] = False,
    export: Annotated[
        Path | None,
        typer.Option(
            help="Record one token's readings at every layer into this file, .html or .json, and "
            "serve nothing."
        ),
    ] = None,
    position: Annotated[int, typer.Option(help="Which token, with --export.")] = -1,
    loading: Loading,
    quiet: Quiet = False,
) -> None:
    """See what a model thinks, in a browser: words, lenses, controls, patches."""
    with errors(quiet):
        loaded = load(model, loading, quiet)
        say(quiet, "Making lenses and readers ready …")
        from lensscope.explorer.explorer import explore as look

        how = [
            ("backend", loading.backend.value, "bridge"),
            ("processing", loading.processing.value, "raw"),
        ]
        options = "".join(f", {name}={value!r}" for name, value, own in how if value != own)
        name = "" if model == "demo" and not options else repr(model)
        found = look(
            loaded,
            prompt,
            lenses=lens,
            readers=reader,
            loading=[f"model = ls.load_model({name}{options})"],
        )
        if export is None:
            found.serve(host, port, open=open)
            return
        say(quiet, "Recording …")
        state = found.record(position=position)
        found.export(export, state)
        say(quiet, f"Page written to {export}")
