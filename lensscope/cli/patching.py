"""The commands about patching: ``patch`` and ``trace``."""

from __future__ import annotations

from enum import Enum
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
    position_of,
    say,
    usage,
)

if TYPE_CHECKING:
    from lensscope.pairs import Pairs
    from lensscope.values.sites import Site

Restored = Annotated[list[str], typer.Option(help="What is given back. May be given again.")]
Positions = Annotated[
    list[str] | None,
    typer.Option(
        "--position",
        help="each (every token), all (together), named (those of --pairs), -1, a substring, "
        "span:TEXT, or NAME=POSITION (NAME=CLEAN|CORRUPTED). May be given again.",
    ),
]


class Method(str, Enum):
    """How effects are found."""

    activation = "activation"
    attribution = "attribution"


@grouped
def patch(
    *,
    pair: Given,
    n: Number = 50,
    site: Annotated[
        list[str],
        typer.Option(help="resid_pre, head_out, mlp_out, pattern, … May be given again."),
    ] = ["resid_pre"],  # noqa: B006  typer's way
    position: Positions = None,
    metric: Annotated[MetricChoice, typer.Option()] = MetricChoice.logit_difference,
    method: Annotated[Method, typer.Option(help="Exact, or to first order.")] = Method.activation,
    direction: Annotated[Direction, typer.Option()] = Direction.denoising,
    window: Annotated[int, typer.Option(help="Layers that are patched together.")] = 1,
    verify: Annotated[int, typer.Option(help="Of attribution: run so many exactly.")] = 0,
    ig_steps: Annotated[int, typer.Option(help="Of attribution: steps of the gradient.")] = 1,
    how: Measuring,
    svg: Svg = None,
    output: Output,
) -> None:
    """Put states of one run into another, and see what brings the answer back."""
    with errors(output.quiet):
        from lensscope.patching.activation import activation_patching
        from lensscope.patching.attribution import attribution_patching

        kinds = _kinds(site)
        loaded = load(how.model, how.loading, output.quiet)
        found = pairs_of(loaded, pair, n, how.seed, metric)
        shared: dict[str, Any] = {
            "direction": direction.value,
            "positions": _positions(position, found),
            "window": window,
            "checkpoint": how.checkpoint,
        }
        given = (list(found.clean), list(found.corrupted))
        measured = metric_of(metric, found)
        if method is Method.activation:
            if verify or ig_steps > 1:
                raise usage("--verify and --ig-steps are of estimates", "add --method attribution")
            result = activation_patching(loaded, *given, kinds, measured, **shared)
        else:
            more: dict[str, Any] = {"verify": verify, "ig_steps": ig_steps, "seed": how.seed}
            result = attribution_patching(loaded, *given, kinds, measured, **shared | more)
            if verify:
                say(output.quiet, f"Checked by exact runs: {result.settings['verified']}")
        picture(result, svg, output.quiet)
        deliver(result, output)


@grouped
def trace(
    *,
    prompt: Annotated[str, typer.Option(help="A prompt that the model answers.")],
    subject: Annotated[str, typer.Option(help="What is blurred: part of the prompt.")],
    answer: Annotated[
        str | None, typer.Option(help="One token; the model's own by default.")
    ] = None,
    noise: Annotated[float, typer.Option(help="In deviations of the subject's embeddings.")] = 3.0,
    samples: Annotated[int, typer.Option(help="Draws of noise.")] = 10,
    window: Annotated[int, typer.Option(help="Layers that are given back together.")] = 1,
    site: Restored = ["resid_post"],  # noqa: B006  typer's way
    how: Measuring,
    svg: Svg = None,
    output: Output,
) -> None:
    """Blur the subject, give one state at a time back, and see where the answer comes back."""
    with errors(output.quiet):
        from lensscope.patching.tracing import causal_trace

        kinds = _kinds(site)
        loaded = load(how.model, how.loading, output.quiet)
        result = causal_trace(
            loaded,
            prompt,
            position_of(subject),
            answer,
            noise,
            samples,
            window,
            kinds,
            seed=how.seed,
            checkpoint=how.checkpoint,
        )
        picture(result, svg, output.quiet)
        deliver(result, output)


def _kinds(names: list[str]) -> list[Site]:
    from lensscope.values import sites
    from lensscope.values.site_kinds import KINDS

    unknown = [name for name in names if name not in KINDS]
    if unknown:
        raise usage(f"there is no site {unknown[0]!r}", f"write {', '.join(KINDS)}")
    return [getattr(sites, name) for name in names]


def _positions(position: list[str] | None, pairs: Pairs) -> Any:
    """Positions from what is written on a command line."""
    from lensscope.values.positions import ALL

    several = position or ["each"]
    if several == ["each"]:
        return None
    if several == ["all"]:
        return ALL
    if several == ["named"]:
        if not pairs.positions:
            raise usage("these pairs name no tokens", "write --position each, all or NAME=POSITION")
        return pairs.groups
    if all("=" in one for one in several):
        named = dict(one.split("=", 1) for one in several)
        return {label: _either(where) for label, where in named.items()}
    return [position_of(one) for one in several]


def _either(where: str) -> Any:
    """A position in both prompts, or one in each."""
    clean, bar, corrupted = where.partition("|")
    return (position_of(clean), position_of(corrupted)) if bar else position_of(clean)
