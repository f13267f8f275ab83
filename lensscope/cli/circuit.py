"""The command about circuits."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lensscope.cli.pairs import (
    Answer,
    Checkpoint,
    Clean,
    Corrupted,
    Direction,
    MetricChoice,
    Number,
    PairSet,
    Seed,
    Wrong,
    metric_of,
    pairs_of,
)
from lensscope.cli.terminal import (
    BackendChoice,
    Html,
    Json,
    ModelName,
    ProcessingChoice,
    Quiet,
    Svg,
    deliver,
    errors,
    load,
    picture,
    print_table,
    say,
    usage,
)
from lensscope.store.files import write

if TYPE_CHECKING:
    from lensscope.circuits.circuit import Circuit


class Search(str, Enum):
    """How circuits are found."""

    activation = "activation"
    attribution = "attribution"
    grow = "grow"


class Ablation(str, Enum):
    """What is outside a circuit does."""

    corrupted = "corrupted"
    mean = "mean"


def circuit(
    clean: Clean = None,
    corrupted: Corrupted = None,
    answer: Answer = None,
    wrong: Wrong = None,
    pairs: PairSet = None,
    n: Number = 20,
    metric: Annotated[MetricChoice, typer.Option()] = MetricChoice.logit_difference,
    search: Annotated[
        Search, typer.Option(help="By effects of heads and MLPs, or grown from the logits.")
    ] = Search.attribution,
    top: Annotated[int, typer.Option(help="Nodes (at most).")] = 20,
    threshold: Annotated[
        float, typer.Option(help="Least effect of a path: of --search grow and --edges.")
    ] = 0.05,
    direction: Annotated[Direction, typer.Option()] = Direction.denoising,
    edges: Annotated[bool, typer.Option("--edges", help="Find the paths between nodes.")] = False,
    ablation: Annotated[
        Ablation, typer.Option(help="What everything outside does.")
    ] = Ablation.corrupted,
    curve: Annotated[
        bool, typer.Option("--curve", help="Faithfulness by size, beside random circuits.")
    ] = False,
    words: Annotated[
        bool, typer.Option("--words", help="Say what each node writes, by token identity.")
    ] = False,
    seed: Seed = 0,
    model: ModelName = "demo",
    backend: Annotated[BackendChoice, typer.Option()] = BackendChoice.bridge,
    processing: Annotated[ProcessingChoice, typer.Option()] = ProcessingChoice.raw,
    checkpoint: Checkpoint = None,
    graphml: Annotated[Path | None, typer.Option(help="Write the graph to this file.")] = None,
    svg: Svg = None,
    html: Html = None,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Find the heads and MLPs that carry a behaviour, and how far they do it alone."""
    with errors(quiet):
        loaded = load(model, backend, processing, quiet)
        found = pairs_of(loaded, clean, corrupted, answer, wrong, pairs, n, seed, metric)
        data = (list(found.clean), list(found.corrupted), metric_of(metric, found))
        made = _found(loaded, data, search, top, threshold, direction.value, checkpoint)
        if edges and search is not Search.grow:
            made = made.connected(loaded, *data, threshold, direction=direction.value)
        if words:
            from lensscope.patchscope.scope import Patchscope

            made = made.inspect(Patchscope.token_identity(max_new_tokens=4), loaded, data[0][0])
        how: dict[str, Any] = {"ablation": ablation.value}
        faithful = made.faithfulness(loaded, *data, **how)
        grown = made.curve(loaded, *data, seed=seed, **how) if curve else None
        if graphml is not None:
            write(graphml, made.to_graphml())
            say(quiet, f"Graph written to {graphml}")
        picture(made, svg, quiet)
        if html is not None:
            from lensscope.show.pages import page

            sections = [one.section() for one in (made, grown) if one is not None]
            write(html, page(made.title, sections, [repr(faithful)]))
            say(quiet, f"Page written to {html}")
        deliver(made, None, json, quiet)
        if grown is not None and not quiet and json != "-":
            print_table(grown)
        say(quiet, repr(faithful))


def _found(
    model: Any,
    data: tuple[Any, Any, Any],
    search: Search,
    top: int,
    threshold: float,
    direction: str,
    checkpoint: Path | None,
) -> Circuit:
    """A circuit, found as asked."""
    from lensscope.circuits.circuit import Circuit
    from lensscope.patching.activation import activation_patching
    from lensscope.patching.attribution import attribution_patching
    from lensscope.values.positions import ALL
    from lensscope.values.sites import head_out, mlp_out

    if search is Search.grow:
        if checkpoint is not None:
            raise usage("--checkpoint keeps effects", "leave it out with --search grow")
        return Circuit.grow(
            model,
            *data,
            threshold,
            max_nodes=top,
            direction=direction,  # type: ignore[arg-type]
        )
    patching: Any = activation_patching if search is Search.activation else attribution_patching
    effect = patching(
        model,
        *data[:2],
        [head_out, mlp_out],
        data[2],
        direction,
        ALL,
        checkpoint=checkpoint,
    )
    return effect.circuit(top=top)
