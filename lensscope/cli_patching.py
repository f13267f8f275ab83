"""The commands about patching: ``patch``, ``trace``, ``circuit``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lensscope.terminal import (
    BackendChoice,
    Html,
    Json,
    ModelName,
    ProcessingChoice,
    Quiet,
    deliver,
    errors,
    position_of,
    print_table,
    say,
    usage,
    write,
)

if TYPE_CHECKING:
    from lensscope.circuits.circuit import Circuit
    from lensscope.pairs import Pairs

Clean = Annotated[str | None, typer.Option(help="A clean prompt.")]
Corrupted = Annotated[str | None, typer.Option(help="A corrupted prompt, as long.")]
Answer = Annotated[
    str | None, typer.Option(help='The right answer: one token, such as " Paris" with its space.')
]
Wrong = Annotated[str | None, typer.Option(help="The wrong answer.")]
PairSet = Annotated[
    str | None,
    typer.Option(
        "--pairs",
        help="In place of one pair: ioi, greater_than, country_capital, gendered_pronoun, or a "
        ".csv or .jsonl file with clean, corrupted, correct, wrong.",
    ),
]
Number = Annotated[int, typer.Option("--n", help="Pairs of a set that is made.")]
Seed = Annotated[int, typer.Option(help="Of what is drawn.")]
Checkpoint = Annotated[
    Path | None,
    typer.Option(help="Keep what is measured here; the same command again does the rest."),
]
Restored = Annotated[list[str], typer.Option(help="What is given back. May be given again.")]
Svg = Annotated[Path | None, typer.Option(help="Write the picture to this file.")]
Positions = Annotated[
    list[str] | None,
    typer.Option(
        "--position",
        help="each (every token), all (together), named (those of --pairs), -1, a substring, "
        "span:TEXT, or NAME=POSITION (NAME=CLEAN|CORRUPTED). May be given again.",
    ),
]


class MetricChoice(str, Enum):
    """What is measured."""

    logit_difference = "logit-difference"
    log_probability = "log-probability"
    probability = "probability"
    kl_divergence = "kl-divergence"
    rank = "rank"


class Direction(str, Enum):
    """Which run is patched."""

    denoising = "denoising"
    noising = "noising"


class Method(str, Enum):
    """How effects are found."""

    activation = "activation"
    attribution = "attribution"


class Search(str, Enum):
    """How circuits are found."""

    activation = "activation"
    attribution = "attribution"
    grow = "grow"


class Ablation(str, Enum):
    """What is outside a circuit does."""

    corrupted = "corrupted"
    mean = "mean"


def patch(
    clean: Clean = None,
    corrupted: Corrupted = None,
    answer: Answer = None,
    wrong: Wrong = None,
    pairs: PairSet = None,
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
    seed: Seed = 0,
    model: ModelName = "demo",
    backend: Annotated[BackendChoice, typer.Option()] = BackendChoice.bridge,
    processing: Annotated[ProcessingChoice, typer.Option()] = ProcessingChoice.raw,
    checkpoint: Checkpoint = None,
    svg: Svg = None,
    html: Html = None,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Put states of one run into another, and see what brings the answer back."""
    with errors(quiet):
        from lensscope import sites
        from lensscope.patching.activation import activation_patching
        from lensscope.patching.attribution import attribution_patching

        unknown = [name for name in site if name not in sites.KINDS]
        if unknown:
            raise usage(f"there is no site {unknown[0]!r}", f"write {', '.join(sites.KINDS)}")
        loaded = _load(model, backend, processing, quiet)
        found = _pairs(loaded, clean, corrupted, answer, wrong, pairs, n, seed, metric)
        shared: dict[str, Any] = {
            "direction": direction.value,
            "positions": _positions(position, found),
            "window": window,
            "checkpoint": checkpoint,
        }
        given = (list(found.clean), list(found.corrupted))
        kinds = [getattr(sites, name) for name in site]
        measured = _metric(metric, found)
        if method is Method.activation:
            if verify or ig_steps > 1:
                raise usage("--verify and --ig-steps are of estimates", "add --method attribution")
            result = activation_patching(loaded, *given, kinds, measured, **shared)
        else:
            more: dict[str, Any] = {"verify": verify, "ig_steps": ig_steps, "seed": seed}
            result = attribution_patching(loaded, *given, kinds, measured, **shared | more)
            if verify:
                say(quiet, f"Checked by exact runs: {result.settings['verified']}")
        _picture(result, svg, quiet)
        deliver(result, html, json, quiet)


def trace(
    prompt: Annotated[str, typer.Option(help="A prompt that the model answers.")],
    subject: Annotated[str, typer.Option(help="What is blurred: part of the prompt.")],
    answer: Annotated[
        str | None, typer.Option(help="One token; the model's own by default.")
    ] = None,
    noise: Annotated[float, typer.Option(help="In deviations of the embeddings.")] = 3.0,
    samples: Annotated[int, typer.Option(help="Draws of noise.")] = 10,
    window: Annotated[int, typer.Option(help="Layers that are given back together.")] = 1,
    site: Restored = ["resid_post"],  # noqa: B006  typer's way
    seed: Seed = 0,
    model: ModelName = "demo",
    backend: Annotated[BackendChoice, typer.Option()] = BackendChoice.bridge,
    processing: Annotated[ProcessingChoice, typer.Option()] = ProcessingChoice.raw,
    checkpoint: Checkpoint = None,
    svg: Svg = None,
    html: Html = None,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Blur the subject, give one state at a time back, and see where the answer comes back."""
    with errors(quiet):
        from lensscope import sites
        from lensscope.patching.tracing import causal_trace

        unknown = [name for name in site if name not in sites.KINDS]
        if unknown:
            raise usage(f"there is no site {unknown[0]!r}", f"write {', '.join(sites.KINDS)}")
        loaded = _load(model, backend, processing, quiet)
        result = causal_trace(
            loaded,
            prompt,
            position_of(subject),
            answer,
            noise,
            samples,
            window,
            [getattr(sites, name) for name in site],
            seed=seed,
            checkpoint=checkpoint,
        )
        _picture(result, svg, quiet)
        deliver(result, html, json, quiet)


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
        loaded = _load(model, backend, processing, quiet)
        found = _pairs(loaded, clean, corrupted, answer, wrong, pairs, n, seed, metric)
        data = (list(found.clean), list(found.corrupted), _metric(metric, found))
        made = _found(loaded, data, search, top, threshold, direction.value, checkpoint)
        if edges and search is not Search.grow:
            made = made.connected(loaded, *data, threshold, direction=direction.value)
        if words:
            from lensscope.patchscope import Patchscope

            made = made.inspect(Patchscope.token_identity(max_new_tokens=4), loaded, data[0][0])
        how: dict[str, Any] = {"ablation": ablation.value}
        faithful = made.faithfulness(loaded, *data, **how)
        grown = made.curve(loaded, *data, seed=seed, **how) if curve else None
        if graphml is not None:
            write(graphml, made.to_graphml())
            say(quiet, f"Graph written to {graphml}")
        _picture(made, svg, quiet)
        if html is not None:
            from html import escape

            from lensscope.report import page

            sections = [f"<p>{escape(repr(faithful))}</p>", made.section()]
            sections += [grown.section()] if grown is not None else []
            write(html, page(made.title, sections))
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
    from lensscope.positions import ALL
    from lensscope.sites import head_out, mlp_out

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


def _load(model: str, backend: BackendChoice, processing: ProcessingChoice, quiet: bool) -> Any:
    from lensscope.models import load_model

    say(quiet, f"Loading {model} …")
    return load_model(model, backend=backend.value, processing=processing.value)


def _pairs(
    model: Any,
    clean: str | None,
    corrupted: str | None,
    answer: str | None,
    wrong: str | None,
    pairs: str | None,
    n: int,
    seed: int,
    metric: MetricChoice,
) -> Pairs:
    """The one pair, or the set of pairs, that was asked for."""
    from lensscope import pairs as sets

    one = (clean, corrupted, answer, wrong)
    if pairs is not None:
        if any(given is not None for given in one):
            raise usage("--pairs has its own prompts and answers", "leave out the others")
        if pairs in sets.TASKS:
            return sets.TASKS[pairs](model, n, seed=seed)
        path = Path(pairs)
        if path.suffix not in (".csv", ".jsonl"):
            known = ", ".join(sets.TASKS)
            raise usage(f"there is no set {pairs!r}", f"write {known}, or a .csv or .jsonl file")
        return (sets.from_csv if path.suffix == ".csv" else sets.from_jsonl)(path, model)
    if clean is None or corrupted is None:
        raise usage("there are no prompts", "give --clean and --corrupted, or --pairs")
    needs_wrong = metric is MetricChoice.logit_difference
    if metric is not MetricChoice.kl_divergence and answer is None:
        raise usage("there is no answer", 'such as --answer " Paris"')
    if needs_wrong and wrong is None:
        raise usage("a logit difference needs --wrong", "or --metric log-probability")
    none = () if wrong is None else (wrong,)
    right = (answer,) if answer is not None else (" ",)
    return sets.Pairs("one pair", (clean,), (corrupted,), (right,), (none,), {})


def _metric(choice: MetricChoice, pairs: Pairs) -> Any:
    from lensscope import metrics

    right: Any = list(pairs.correct)
    wrong: Any = list(pairs.wrong) if all(pairs.wrong) else None
    if choice is MetricChoice.kl_divergence:
        return metrics.kl_divergence()
    if choice is MetricChoice.logit_difference:
        return pairs.metric
    if choice is MetricChoice.probability:
        return metrics.probability(right, wrong)
    return (metrics.rank if choice is MetricChoice.rank else metrics.log_probability)(right)


def _positions(position: list[str] | None, pairs: Pairs) -> Any:
    """Positions from what is written on a command line."""
    from lensscope.positions import ALL

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


def _picture(result: Any, svg: Path | None, quiet: bool) -> None:
    if svg is not None:
        write(svg, result.to_svg())
        say(quiet, f"Picture written to {svg}")
