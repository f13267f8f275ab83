"""Clean and corrupted prompts in pairs, and whether a model keeps them aligned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lensscope import checks
from lensscope.effects.metrics import PairMetric, log_probability, logit_difference
from lensscope.errors import PromptError
from lensscope.model.classes import backend_of
from lensscope.pairs.alignment import PromptPair, require_aligned
from lensscope.show.showing import Tabled
from lensscope.store.lasting import Lasting


@dataclass(frozen=True)
class Pairs(Tabled, Lasting):
    """Clean and corrupted prompts in pairs, with their answers.

    Attributes:
        name: what the pairs are of.
        clean: the clean prompts.
        corrupted: for each of them one of as many tokens.
        correct: the right continuations of each clean prompt, usually one, each of one token.
        wrong: what each corrupted prompt leads to instead; may be empty.
        positions: named groups of tokens, for each pair an index or a slice; counted on the
            unpadded prompt as the model runs it by default, and the same in both prompts.

    Raises:
        PromptError: none, unequally many of something, or an answer both correct and wrong.

    Example:
        >>> ls.pairs.ioi(model, 4, seed=0)[:2]
        Pairs(ioi (abc): 2 pairs; positions IO, S1, S1+1, S2, end)
    """

    name: str
    clean: tuple[str, ...]
    corrupted: tuple[str, ...]
    correct: tuple[tuple[str, ...], ...]
    wrong: tuple[tuple[str, ...], ...]
    positions: Mapping[str, tuple[slice | int, ...]]

    def __post_init__(self) -> None:
        for name in ("clean", "corrupted"):
            rows = _rows(getattr(self, name), name)
            object.__setattr__(self, name, tuple(checks.text(r, name, PromptError) for r in rows))
        for name in ("correct", "wrong"):
            answers = [_rows(row, name) for row in _rows(getattr(self, name), name)]
            object.__setattr__(self, name, tuple(map(tuple, answers)))
        positions = checks.named(self.positions, "positions", PromptError)
        columns_of = {label: tuple(_rows(row, label)) for label, row in positions.items()}
        object.__setattr__(self, "positions", columns_of)
        columns = {name: getattr(self, name) for name in ("clean", "corrupted", "correct", "wrong")}
        counts = {name: len(column) for name, column in (columns | dict(self.positions)).items()}
        if set(counts.values()) != {len(self)} or not len(self):
            raise PromptError(
                "These are no pairs.",
                got=", ".join(f"{count} of {name}" for name, count in counts.items()),
                expected="as many of each, at least one",
                instead='Pairs("mine", ("A",), ("B",), ((" a",),), ((" b",),), {})',
            )
        for number, (correct, wrong) in enumerate(zip(self.correct, self.wrong, strict=True)):
            if not correct or set(correct) & set(wrong):
                raise PromptError(
                    f"The answers of pair {number} cannot be told apart.",
                    got=f"correct {correct}, wrong {wrong}",
                    expected="at least one correct answer, and none that is also wrong",
                    instead="the answers of the clean prompt as correct, those of the "
                    "corrupted one as wrong",
                )

    def __len__(self) -> int:
        return len(self.clean)

    def __getitem__(self, which: int | slice) -> Pairs:
        chosen = range(len(self))[which]
        rows = [chosen] if isinstance(chosen, int) else chosen
        return joined(self.name, [self._row(i) for i in rows])

    def __repr__(self) -> str:
        positions = f"; positions {', '.join(self.positions)}" if self.positions else ""
        return f"Pairs({self.name}: {len(self)} pairs{positions})"

    @property
    def metric(self) -> PairMetric:
        """The logit difference of right and wrong answers; the right ones' log-probability where
        there are no wrong ones."""
        if all(self.wrong):
            return logit_difference(list(self.correct), list(self.wrong))
        return log_probability(list(self.correct))

    @property
    def groups(self) -> dict[str, list[slice | int]]:
        """The named tokens, as ``positions=`` takes them."""
        return {label: list(tokens) for label, tokens in self.positions.items()}

    def frame(self) -> pd.DataFrame:
        """One row a pair: ``pair, clean, corrupted, correct, wrong``; answers joined by ``|``."""
        answers = {
            name: ["|".join(row) for row in getattr(self, name)] for name in ("correct", "wrong")
        }
        texts = {"clean": self.clean, "corrupted": self.corrupted}
        return pd.DataFrame({"pair": range(len(self)), **texts, **answers})

    def _row(self, i: int) -> PromptPair:
        positions = {label: column[i] for label, column in self.positions.items()}
        return PromptPair(
            self.clean[i], self.corrupted[i], self.correct[i], self.wrong[i], positions
        )


def _rows(value: Any, what: str) -> list[Any]:
    """A list of something, which may be empty."""
    if isinstance(value, list | tuple) and not value:
        return []
    return checks.several(value, what, "ls.pairs.ioi(model, 4) shows the form", PromptError)


def joined(name: str, rows: Sequence[PromptPair]) -> Pairs:
    """Pairs of rows."""
    labels = rows[0].positions if rows else ()
    return Pairs(
        name,
        tuple(row.clean for row in rows),
        tuple(row.corrupted for row in rows),
        tuple(row.correct for row in rows),
        tuple(row.wrong for row in rows),
        {label: tuple(row.positions[label] for row in rows) for label in labels},
    )


def check(model: Any, pairs: Pairs) -> None:
    """Refuse pairs that this model's tokenizer does not keep aligned.

    Args:
        model: the model.
        pairs: the pairs; the error counts them from 0.

    Raises:
        PromptError: prompts of unequal length, or an answer that is not one token after the
            clean prompt.
        PositionError: a position outside of its prompt.

    Example:
        >>> ls.pairs.check(model, ls.pairs.country_capital(model, 3))
    """
    backend = backend_of(model)
    checks.instance("Pairs", "ls.pairs.ioi(model, 4)")(pairs, "pairs", PromptError)
    for number in range(len(pairs)):
        require_aligned(backend, number, pairs._row(number))
