"""What the commands about pairs of prompts have in common."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lensscope.cli.terminal import Loading, ModelName, usage

if TYPE_CHECKING:
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


@dataclass(frozen=True)
class Given:
    """One pair of prompts, or a set of them."""

    clean: Clean = None
    corrupted: Corrupted = None
    answer: Answer = None
    wrong: Wrong = None
    pairs: PairSet = None


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """What is measured in, and where it is kept."""

    seed: Seed = 0
    model: ModelName = "demo"
    loading: Loading
    checkpoint: Checkpoint = None


def pairs_of(model: Any, given: Given, n: int, seed: int, metric: MetricChoice) -> Pairs:
    """The one pair, or the set of pairs, that was asked for."""
    from lensscope import pairs as sets

    clean, corrupted, answer, wrong, pairs = vars(given).values()
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
    if metric is not MetricChoice.kl_divergence and answer is None:
        raise usage("there is no answer", 'such as --answer " Paris"')
    if metric is MetricChoice.logit_difference and wrong is None:
        raise usage("a logit difference needs --wrong", "or --metric log-probability")
    none = () if wrong is None else (wrong,)
    right = (answer,) if answer is not None else (" ",)
    return sets.Pairs("one pair", (clean,), (corrupted,), (right,), (none,), {})


def metric_of(choice: MetricChoice, pairs: Pairs) -> Any:
    """The metric that was asked for, with the answers of the pairs."""
    from lensscope.effects import metrics

    right: Any = list(pairs.correct)
    wrong: Any = list(pairs.wrong) if all(pairs.wrong) else None
    if choice is MetricChoice.kl_divergence:
        return metrics.kl_divergence()
    if choice is MetricChoice.logit_difference:
        return pairs.metric
    if choice is MetricChoice.probability:
        return metrics.probability(right, wrong)
    return (metrics.rank if choice is MetricChoice.rank else metrics.log_probability)(right)
