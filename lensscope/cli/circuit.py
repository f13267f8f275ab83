"""The command about circuits."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lensscope.cli.grouped import grouped
from lensscope.cli.pairs import (
    Direction,
    Given,
    Measuring,
    MetricChoice,
    Number,
    metric_of,
    pairs_of,
)
from lensscope.cli.terminal import (
    Output,
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


@grouped
def circuit(
    *,
    pair: Given,
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
    how: Measuring,
    graphml: Annotated[Path | None, typer.Option(help="Write the graph to this file.")] = None,
    svg: Svg = None,
    output: Output,
) -> None:
    """Find the heads and MLPs that carry a behaviour, and how far they do it alone."""
    quiet = output.quiet
    with errors(quiet):
        loaded = load(how.model, how.loading, quiet)
        found = pairs_of(loaded, pair, n, how.seed, metric)
        data = (list(found.clean), list(found.corrupted), metric_of(metric, found))
        made = _found(loaded, data, search, top, threshold, direction.value, how.checkpoint)
        if edges and search is not Search.grow:
            made = made.connected(loaded, *data, threshold, direction=direction.value)
        if words:
            from lensscope.patchscope.scope import Patchscope

            made = made.inspect(Patchscope.token_identity(max_new_tokens=4), loaded, data[0][0])
        outside: Any = ablation.value
        faithful = made.faithfulness(loaded, *data, ablation=outside)
        grown = made.curve(loaded, *data, seed=how.seed, ablation=outside) if curve else None
        if graphml is not None:
            write(graphml, made.to_graphml())
            say(quiet, f"Graph written to {graphml}")
        picture(made, svg, quiet)
        if output.html is not None:
            from lensscope.show.pages import page

            sections = [one.section() for one in (made, grown) if one is not None]
            write(output.html, page(made.title, sections, [repr(faithful)]))
            say(quiet, f"Page written to {output.html}")
        deliver(made, replace(output, html=None))
        if grown is not None and not quiet and output.json != "-":
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
