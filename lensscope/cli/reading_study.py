"""The command ``study reading-quality``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lensscope.cli.grouped import grouped
from lensscope.cli.study_options import Draws, Layers, Running, layers_of, readers_of
from lensscope.cli.terminal import errors


@grouped
def reading_quality(
    *,
    reader: Annotated[
        list[str],
        typer.Option(
            help="definition, tuned, entity-description, or the path of a reader; with "
            "name=… to call it something. May be given again: each is set beside the first."
        ),
    ] = ["definition"],  # noqa: B006  typer's way
    question: Annotated[
        str | None, typer.Option(help="What the readers are asked, where they ask one.")
    ] = None,
    block: Annotated[
        int, typer.Option(help="Presets write into the input of this block, whatever they read.")
    ] = 2,
    names: Annotated[
        Path | None,
        typer.Option(help="A text file with a name a line, or a .csv or .json of entities."),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Only so many names.")] = None,
    template: Annotated[str, typer.Option(help="The sentence that a name is read in.")] = (
        "I have read about {}"
    ),
    layers: Layers = "all",
    max_new_tokens: Annotated[int | None, typer.Option(help="New tokens for each cell.")] = None,
    whole: Annotated[
        bool, typer.Option(help="Score all that is said, also where it goes on to another name.")
    ] = False,
    identify: Annotated[
        bool, typer.Option(help="Tell names apart by what is said; that takes most of the time.")
    ] = True,
    candidates: Annotated[int, typer.Option(help="Among so many names.")] = 20,
    random_draws: Draws = 1,
    how: Running,
) -> None:
    """How good readers are: what they say of names' states, beside what the model says of the
    names."""
    with errors(how.output.quiet):
        from lensscope import studies
        from lensscope.lenses.states import lines_of

        given: Any
        if names is None or names.suffix in (".csv", ".json"):
            given = studies.entities(names, limit=limit)
        else:
            given = lines_of(names)[:limit]
        loaded = how.loaded(how.model)
        study = studies.reading_quality(
            loaded,
            readers_of(reader, loaded, question, block),
            given,
            template=template,
            layers=layers_of(layers),
            max_new_tokens=max_new_tokens,
            whole=whole,
            identify=identify,
            n_candidates=candidates,
            random_draws=random_draws,
            seed=how.seed,
        )
        how.run(study, "lensscope-reading-quality")
