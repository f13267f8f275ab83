"""The commands that train a reader, and find where a raw one is best written."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lensscope.cli.grouped import grouped
from lensscope.cli.study_options import Layers, layers_of
from lensscope.cli.terminal import (
    Json,
    Loading,
    ModelName,
    Quiet,
    errors,
    load,
    numbers_of,
    print_shown,
    say,
)
from lensscope.store.files import write

if TYPE_CHECKING:
    import pandas as pd

Names = Annotated[
    Path | None, typer.Option(help="A text file with a name a line; some thousand come along.")
]


class Objective(str, Enum):
    """What a reader is taught."""

    description = "description"
    next_token = "next_token"


class MapKind(str, Enum):
    """What is trained."""

    scale = "scale"
    low_rank = "low_rank"
    full = "full"


@grouped
def train_reader(
    *,
    out: Annotated[Path, typer.Option(help="Where the reader goes.")] = Path("reader.safetensors"),
    objective: Annotated[
        Objective, typer.Option(help="What is taught: what names are, or what comes next.")
    ] = Objective.description,
    names: Names = None,
    texts: Annotated[
        Path | None, typer.Option(help="A text file, for next_token; Python's chapters by default.")
    ] = None,
    limit: Annotated[int, typer.Option(help="So many names, drawn by the seed.")] = 3300,
    block: Annotated[
        int | None,
        typer.Option(
            help="States are written into the input of this block; by default of 2, and for "
            "next_token each at its own layer, but not in the first two thirds of them."
        ),
    ] = None,
    question: Annotated[
        str | None, typer.Option(help="The prompt, with its placeholder x, in place of our own.")
    ] = None,
    layers: Layers = "all",
    map: Annotated[MapKind, typer.Option(help="What is trained.")] = MapKind.full,
    rank: Annotated[int, typer.Option(help="Of low_rank.")] = 64,
    keep_rank: Annotated[
        int | None, typer.Option(help="Keep maps of this rank, which take less room.")
    ] = None,
    passes: Annotated[float, typer.Option(help="How often all names are gone through.")] = 1.3,
    steps: Annotated[int | None, typer.Option(help="Updates, in place of --passes.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="At its highest.")] = None,
    held_out: Annotated[int, typer.Option(help="Names or tokens that are kept apart.")] = 120,
    half: Annotated[bool, typer.Option("--half", help="Keep numbers in half the room.")] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="Keep those of --keep-rank in a quarter of the room.")
    ] = False,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Keep the training here; the same command goes on.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all that is drawn.")] = 0,
    model: ModelName = "demo",
    loading: Loading,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Train a patchscope to say what states hold, and keep it; scores are of what it never saw."""
    with errors(quiet):
        import dataclasses

        import torch

        from lensscope.model.classes import backend_of
        from lensscope.patchscope.inspection import InspectionPrompt
        from lensscope.patchscope.scope import Patchscope
        from lensscope.values.sites import resid_post, resid_pre

        sources = layers_of(layers)
        taught: Any
        if objective is Objective.description:
            scope = Patchscope.definition(2 if block is None else block)
            taught = _names(names, limit, seed)
        elif block is not None:
            scope = Patchscope.token_identity(write=resid_pre(block), read=resid_post)
            taught = _texts(texts)
        else:
            scope = Patchscope.token_identity()
            taught = _texts(texts)
        loaded = load(model, loading, quiet)
        if objective is Objective.next_token and block is None:
            earliest = 2 * backend_of(loaded).n_layers // 3
            scope = dataclasses.replace(scope, earliest=earliest)
        if question is not None:
            scope = dataclasses.replace(scope, inspection=InspectionPrompt(question, "x"))
        settings: dict[str, Any] = {"rank": rank, "seed": seed, "passes": passes, "steps": steps}
        settings |= {"n_held_out": held_out, "keep_rank": keep_rank, "learning_rate": learning_rate}
        reader = scope.fit(
            loaded,
            taught,
            objective=objective.value,
            layers=sources,
            map=map.value,
            checkpoint=checkpoint,
            **settings,
        )
        maps: Any = reader.transform
        maps = maps.rounded() if int8 else maps
        maps = maps.to(torch.float16) if half else maps
        reader = dataclasses.replace(reader, transform=maps)
        reader.save(out)
        say(quiet, f"Reader written to {out}")
        assert reader.trained is not None
        _deliver(
            reader.trained.frame(),
            "What the model itself says, given states of what the reader never saw",
            json,
            quiet,
        )


@grouped
def best_block(
    *,
    names: Names = None,
    limit: Annotated[int, typer.Option(help="So many names, drawn by the seed.")] = 60,
    blocks: Annotated[str, typer.Option(help="Blocks: 0:10, or 1,2,3.")] = "0:10",
    layers: Annotated[str, typer.Option(help="Source layers: six by default.")] = "",
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
    model: ModelName = "demo",
    loading: Loading,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Into the input of which block a raw patchscope is best written, found on names."""
    with errors(quiet):
        from lensscope.patchscope.scope import Patchscope

        found = Patchscope.definition().reading_blocks(
            load(model, loading, quiet),
            _names(names, limit, seed),
            blocks=numbers_of(blocks),
            layers=numbers_of(layers) if layers else None,
        )
        wide = found.pivot(index="block", columns="source_layer", values="nats")
        wide["mean"] = wide.mean(axis=1)
        best = int(wide["mean"].idxmin())
        wide.columns = [str(name) for name in wide.columns]
        title = (
            f"Nats a token of what the model says of names, by block and source layer; best: {best}"
        )
        _deliver(wide.reset_index(), title, json, quiet)


def _names(path: Path | None, limit: int, seed: int) -> list[str]:
    """So many names of a file, or of those that come along, drawn by a seed."""
    import random

    from lensscope.lenses.states import lines_of
    from lensscope.patchscope.names import names

    found = list(names()) if path is None else lines_of(path)
    random.Random(seed).shuffle(found)
    return found[:limit]


def _texts(path: Path | None) -> Any:
    from lensscope.lenses.corpus import python_docs

    return python_docs() if path is None else path


def _deliver(frame: pd.DataFrame, title: str, json: str | None, quiet: bool) -> None:
    """A frame as JSON and as a table, as far as they were asked for."""
    from lensscope.show.terminal import table_of
    from lensscope.store.json_text import json_text, records

    if json == "-":
        print(json_text(records(frame)))
    elif json is not None:
        write(json, json_text(records(frame)))
    if not quiet and json != "-":
        rows = [
            [f"{value:.3f}" if isinstance(value, float) else str(value) for value in row]
            for row in frame.itertuples(index=False)
        ]
        columns = [str(name).replace("_", " ") for name in frame.columns]
        print_shown(table_of(title, columns, rows, numbers=range(len(columns))))
