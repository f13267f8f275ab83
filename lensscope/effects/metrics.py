"""What a patched run is measured by: one number of the logits of a prompt's last token.

A metric is a value that knows its answers. It is bound to one pair of prompts before it measures,
for an answer is a token of the model's own tokenizer, and a divergence needs the clean run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from lensscope import checks
from lensscope.effects.answers import Answers, Case, as_answers, shown, token_ids
from lensscope.engine.logits import taken
from lensscope.errors import PlanError, PromptError

Measure: TypeAlias = Callable[[Tensor], Tensor]


class PairMetric(ABC):
    """One number of a run's last logits."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called, answers included."""

    def __repr__(self) -> str:
        return self.name

    @property
    def measure(self) -> str:
        """What it is called whatever the answers, as of several pairs."""
        return self.name

    @property
    def answers(self) -> tuple[Answers, ...]:
        """All answers that it knows; its name leaves out those of several pairs."""
        return ()

    @abstractmethod
    def bind(self, case: Case) -> Measure:
        """A function of logits ``[row, 1, d_vocab]`` that gives ``[row]``."""

    def preference(self, case: Case) -> bool | None:
        """Whether the clean run prefers the right answer; ``None`` where there is no such thing."""
        return None


@dataclass(frozen=True, repr=False)
class _Compared(PairMetric):
    """A number of the right answer, less that of the wrong one where there is one."""

    correct: Answers
    wrong: Answers | None
    what: str

    @property
    def name(self) -> str:
        against = "" if self.wrong is None else f" - {shown(self.wrong, 'wrong')}"
        return f"{self.what} {shown(self.correct, 'right')}{against}"

    @property
    def measure(self) -> str:
        return f"{self.what} right answer" + " - wrong answer" * (self.wrong is not None)

    @property
    def answers(self) -> tuple[Answers, ...]:
        return (self.correct,) if self.wrong is None else (self.correct, self.wrong)

    def bind(self, case: Case) -> Measure:
        right = token_ids(case, self.correct, "correct")
        wrong = None if self.wrong is None else token_ids(case, self.wrong, "wrong")
        if wrong is not None and set(wrong) == set(right):
            raise PromptError(
                "The right and the wrong answer are the same.",
                got=self.name,
                expected="two answers, of which a run can prefer one",
                instead='ls.logit_difference(" Paris", " Tokyo")',
            )

        def measure(logits: Tensor) -> Tensor:
            last = logits[:, -1].float()
            found = _TAKEN[self.what](last, right)
            return found if wrong is None else found - _TAKEN[self.what](last, wrong)

        return measure

    def preference(self, case: Case) -> bool | None:
        if self.wrong is None:
            return None
        sense = -1 if self.what == "rank" else 1
        return bool(sense * self.bind(case)(case.clean[None, None])[0] > 0)


def _logit(last: Tensor, ids: list[int]) -> Tensor:
    return last[:, ids].mean(-1)


def _log_probability(last: Tensor, ids: list[int]) -> Tensor:
    return last[:, ids].logsumexp(-1) - last.logsumexp(-1)


def _rank(last: Tensor, ids: list[int]) -> Tensor:
    best = last[:, ids].amax(-1, keepdim=True)
    return (last > best).sum(-1).to(last.dtype)


_TAKEN: dict[str, Callable[[Tensor, list[int]], Tensor]] = {
    "logit difference": _logit,
    "log-probability": _log_probability,
    "probability": lambda last, ids: _log_probability(last, ids).exp(),
    "rank": _rank,
}


@checks.door(PromptError, correct=as_answers, wrong=as_answers)
def logit_difference(correct: Answers, wrong: Answers) -> PairMetric:
    """The logit of the right answer less that of the wrong one.

    Args:
        correct: a token as text (with its leading space) or as id; a tuple of tokens for the mean
            of their logits; a list with one of these for each pair.
        wrong: the same.

    Example:
        >>> ls.logit_difference(" Paris", " Tokyo").name
        "logit difference ' Paris' - ' Tokyo'"
    """
    return _Compared(correct, wrong, "logit difference")


@checks.door(PromptError, correct=as_answers)
def log_probability(correct: Answers) -> PairMetric:
    """The log-probability of the answer (nats); of several in a tuple, that of any of them.

    Example:
        >>> ls.log_probability((" Paris", " Lyon")).name
        "log-probability ' Paris' or ' Lyon'"
    """
    return _Compared(correct, None, "log-probability")


@checks.door(PromptError, correct=as_answers, wrong=as_answers)
def probability(correct: Answers, wrong: Answers | None = None) -> PairMetric:
    """The probability of the answer, of several in a tuple their sum; less that of the wrong one,
    if it is given (Hanna et al. 2023, section 2, for greater-than).

    Example:
        >>> ls.probability((" Paris", " Lyon")).name
        "probability ' Paris' or ' Lyon'"
    """
    return _Compared(correct, wrong, "probability")


@checks.door(PromptError, correct=as_answers)
def rank(correct: Answers) -> PairMetric:
    """How many tokens are more probable than the answer, or the best of several: 0 is the first.

    It has no gradient, so attribution patching refuses it.

    Example:
        >>> ls.rank(" Paris").name
        "rank ' Paris'"
    """
    return _Compared(correct, None, "rank")


@dataclass(frozen=True, repr=False)
class _Divergence(PairMetric):
    @property
    def name(self) -> str:
        return "KL divergence from the clean run"

    def bind(self, case: Case) -> Measure:
        log_p = case.clean.detach().float().log_softmax(-1)

        def measure(logits: Tensor) -> Tensor:
            log_q = logits[:, -1].float().log_softmax(-1)
            return torch.linalg.vecdot(log_p.exp().expand_as(log_q), log_p - log_q)

        return measure


@checks.door(PromptError)
def kl_divergence() -> PairMetric:
    """``KL(clean run || patched run)`` of the next token, in nats; 0 is the clean run.

    Example:
        >>> ls.kl_divergence().name
        'KL divergence from the clean run'
    """
    return _Divergence()


@dataclass(frozen=True, repr=False)
class _Own(PairMetric):
    """A user's own function."""

    function: Callable[[Tensor], Any]

    @property
    def name(self) -> str:
        return str(getattr(self.function, "__name__", None) or type(self.function).__name__)

    def bind(self, case: Case) -> Measure:
        return self.function


def as_metric(metric: Any) -> PairMetric:
    """A metric from one of lensscope's, or from any function of logits.

    Raises:
        PlanError: neither.
    """
    if isinstance(metric, PairMetric):
        return metric
    makers = (logit_difference, log_probability, probability, rank, kl_divergence)
    if callable(metric) and metric not in makers:
        return _Own(metric)
    raise PlanError(
        "This is not a metric.",
        got=f"{getattr(metric, '__name__', repr(metric))} without its answers"
        if callable(metric)
        else repr(metric),
        expected="a metric with its answers, or a function of logits [row, 1, d_vocab] to [row]",
        instead='metric=ls.logit_difference(" Paris", " Tokyo")',
    )


def checked(measure: Measure, name: str) -> Measure:
    """The same, refusing what is not one number a row.

    Raises:
        PlanError: NaN, infinity, or another shape.
    """

    def measured(logits: Tensor) -> Tensor:
        value = taken(measure, f"The metric {name}", logits)
        rows = logits.shape[0]
        if not isinstance(value, Tensor) or tuple(value.shape) != (rows,):
            raise PlanError(
                f"The metric {name} does not give one number for each run.",
                got=f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value),
                expected=f"a tensor of shape ({rows},) of logits [row, 1, d_vocab] = "
                f"{tuple(logits.shape)}",
                instead="metric=lambda logits: logits[:, -1, 7] - logits[:, -1, 9]",
            )
        value = value.float()
        if not bool(value.isfinite().all()):
            raise PlanError(
                f"The metric {name} gives something that is not a number.",
                got=f"{int((~value.isfinite()).sum())} of {rows} values NaN or infinite",
                expected="finite numbers",
                instead="a metric that is defined for every logits, such as ls.logit_difference",
            )
        return value

    return measured
