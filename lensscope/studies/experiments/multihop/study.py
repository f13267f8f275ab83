"""Can one patch make a model take the second step of a question after the first?

Ghandeharioun et al. 2024, "Patchscopes", section 5: the state of the first step's phrase is written
where the second step asks about something. Biran et al. 2024, "Hopping Too Late: Exploring the
Limitations of Large Language Models on Multi-Hop Queries" (EMNLP): the state of the phrase is
written back into the same prompt at a lower layer, so that what comes too late may act.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lensscope import checks
from lensscope.checks import several, whole_number
from lensscope.engine.capture import capture
from lensscope.errors import StudyError
from lensscope.patchscope.controls import as_long_as
from lensscope.patchscope.layers import layers_of
from lensscope.studies.controls import Spread
from lensscope.studies.experiments.multihop.prompts import (
    BACK,
    CHAIN,
    read,
    written,
)
from lensscope.studies.experiments.multihop.summary import multihop_result
from lensscope.studies.folder import Folder
from lensscope.studies.given import as_layers
from lensscope.studies.parts import QUESTIONS, Part
from lensscope.studies.places import LEAD_IN
from lensscope.studies.questions import Question, unrelated
from lensscope.studies.questions import questions as read_questions
from lensscope.studies.result import StudyResult
from lensscope.studies.said import said_after
from lensscope.studies.scoring import contains
from lensscope.studies.study import BUDGET, Study
from lensscope.values.sites import resid_post

if TYPE_CHECKING:
    import pandas as pd

_AT_ONCE: Final = 32
"""Prompts that are run together."""
_PLACEHOLDER: Final = "x"
"""The one that comes along, which a tokenizer may not keep whole."""


class Written(NamedTuple):
    """A state of a sweep: what it is the state of, which draw of it, where it is read and written,
    and the state, ``[d_model]``."""

    condition: str
    draw: int
    source: int
    target: int
    state: Tensor


@dataclass(frozen=True, eq=False, repr=False)
class Multihop(Study):
    """See `multihop`."""

    questions: tuple[Question, ...]
    layers: tuple[int, ...] | None
    target_layers: tuple[int, ...] | None
    max_new_tokens: int
    random_draws: int
    placeholder: str
    kind: ClassVar[str] = "multihop"

    # ---------------------------------------------------------------- cells

    def sources(self) -> list[int]:
        """Source layers, as numbers."""
        return layers_of(self.backend, resid_post, self.layers)

    def targets(self) -> list[int]:
        """Target layers, as numbers."""
        return layers_of(self.backend, resid_post, self.target_layers)

    def pairs(self, way: int) -> list[tuple[int, int]]:
        """Source and target layers of a way; going back is to a lower layer."""
        cells = [(s, t) for s in self.sources() for t in self.targets()]
        return cells if way == CHAIN else [(s, t) for s, t in cells if t < s]

    def others(self) -> list[int]:
        """For each question another one with nothing in common.

        Raises:
            StudyError: some question has no such other.
        """
        return unrelated(self.questions, self.seed)

    # ---------------------------------------------------------------- parts

    def arguments(self) -> dict[str, Any]:
        return {
            "title": f"{len(self.questions)} questions",
            "questions": [asdict(question) for question in self.questions],
            "source_layers": self.sources(),
            "target_layers": self.targets(),
            "max_new_tokens": self.max_new_tokens,
            "random_draws": self.random_draws,
            "placeholder": self.placeholder,
            "lead_in": LEAD_IN,
            "seed": self.seed,
            "memory_budget": self.memory_budget,
        }

    def parts(self) -> list[Part]:
        return [QUESTIONS.part(item) for item in range(len(self.questions))]

    def check(self) -> None:
        """Refuse what cannot be run, before anything is.

        Raises:
            StudyError: no questions, ones that cannot be told apart, no layer to go back to.
            PromptError, PositionError, SiteError: of prompts and layers.
        """
        whole_number(self.max_new_tokens, "max_new_tokens", 1, 10, error=StudyError)
        whole_number(self.random_draws, "random_draws", 1, 1, error=StudyError)
        if not self.questions:
            raise StudyError(
                "The study has no questions.",
                got="an empty set",
                expected="at least two",
                instead="ls.studies.questions()",
            )
        if not self.pairs(BACK):
            raise StudyError(
                "There is no layer to write back to.",
                got=f"source layers {self.sources()}, target layers {self.targets()}",
                expected="a target layer below a source layer",
                instead="layers=[8, 12, 16], target_layers=[2, 4, 6]",
            )
        self.others()
        for question in self.questions:
            for way in (CHAIN, BACK):
                read(self.backend, question, way)
        if self.placeholder != _PLACEHOLDER:
            self.check_whole()

    def check_whole(self) -> None:
        for question in self.questions:
            for way in (CHAIN, BACK):
                written(self.backend, question, way, self.placeholder)

    def prepare(self) -> Mapping[str, Tensor]:
        """The mean state of each layer over all questions, ``[way, layer, width]``, and vectors
        drawn as these states are spread, ``[draw, way, layer, width]``."""
        items = range(len(self.questions))
        spread = Spread(self.random_draws, self.seed)
        for first in range(0, len(items), _AT_ONCE):
            some = items[first : first + _AT_ONCE]
            spread.add(torch.stack([self._states(some, way) for way in (CHAIN, BACK)], 1))
        return {"mean": spread.mean(), "drawn": spread.drawn()}

    def _states(self, items: Sequence[int], way: int) -> Tensor:
        """``[item, source layer, width]``."""
        reads = [read(self.backend, self.questions[item], way) for item in items]
        sites = [resid_post(layer) for layer in self.sources()]
        cache = capture(
            self.backend,
            [prompt for prompt, _ in reads],
            sites,
            memory_budget=self.memory_budget,
        )
        at = [token for _, token in reads]
        return torch.stack([cache[site][range(len(items)), at] for site in sites], 1)

    def measure(self, part: Part, shared: Mapping[str, Tensor]) -> pd.DataFrame:
        """A line for each text of a question: alone, and by way, condition and cell."""
        (item,) = part.numbers
        question, other = self.questions[item], self.others()[item]
        lines: list[dict[str, Any]] = []

        def line(way: int, text: str, of: Written | None, condition: str) -> None:
            lines.append(
                {
                    "item": item,
                    "name": question.text,
                    "variant": way,
                    "condition": condition,
                    "draw": of.draw if of else 0,
                    "source_layer": of.source if of else -1,
                    "target_layer": of.target if of else -1,
                    "text": text,
                    "answered": float(contains(text, question.answers)),
                }
            )

        for way in (CHAIN, BACK):
            own, others = self._states([item, other], way)
            nulls = {"mean": [shared["mean"][way]], "drawn": [*shared["drawn"][:, way]]}
            sweep = self._sweep(item, way, own, others, nulls)
            prompt, token = written(self.backend, question, way, self.placeholder)
            writes = [None, *((resid_post(one.target), one.state) for one in sweep)]
            budget = (self.max_new_tokens, self.memory_budget)
            prior, *texts = said_after(self.backend, prompt, [token], writes, *budget)
            line(way, prior.text, None, "prior")
            if way == BACK:
                line(-1, prior.text, None, "alone")
            for one, said in zip(sweep, texts, strict=True):
                line(way, said.text, one, one.condition)
        return QUESTIONS.frame(lines)

    def _sweep(
        self,
        item: int,
        way: int,
        own: Tensor,
        others: Tensor,
        nulls: Mapping[str, Sequence[Tensor]],
    ) -> list[Written]:
        """All that is written for a question: its states, and the controls."""
        drawn = np.random.default_rng([self.seed, item, way])
        states = {"state": [own], "shuffled": [others]}
        states |= {name: [one.to(own) for one in draws] for name, draws in nulls.items()}
        states["random"] = [as_long_as(own, drawn) for _ in range(self.random_draws)]
        at = {layer: n for n, layer in enumerate(self.sources())}
        return [
            Written(condition, draw, s, t, by_layer[at[s]])
            for condition, draws in states.items()
            for draw, by_layer in enumerate(draws)
            for s, t in self.pairs(way)
        ]

    @classmethod
    def summary(cls, folder: Folder) -> StudyResult:
        return multihop_result(folder)


@checks.door(StudyError)
def multihop(
    model: Any,
    questions: Iterable[Question] | str | Path | None = None,
    *,
    layers: Iterable[int] | int | None = None,
    target_layers: Iterable[int] | int | None = None,
    max_new_tokens: int = 10,
    random_draws: int = 1,
    placeholder: str = _PLACEHOLDER,
    seed: int = 0,
    memory_budget: int = BUDGET,
) -> Multihop:
    """Whether one patch makes a model answer questions in two steps: a study, to be `run`.

    Three ways to the answer, which is right where it occurs in what is generated (greedily), as
    whole words in upper or lower case:

    - *alone*: the question as it is;
    - *chain of thought*: the first step's phrase is run alone, and the state of its last token is
      written over the placeholder of the second step's prompt. So does the first experiment of the
      paper's published code, where the source prompt is the first step; in its main one the two
      prompts change places, and the state of the second step goes to the end of the phrase;
    - *back-patching*: the state of the phrase's last token in the question is written to the same
      token of the same prompt at a lower layer.

    Written is, besides the question's own state: that of another question (of the same second step
    where there is one); the layer's mean state over all questions; vectors with these states' mean
    and covariance; random vectors as long as the state; nothing, which for back-patching is the
    question alone. The result has the fixed cell, chosen on some questions and scored on others,
    and "some cell", which is right where one of all cells is; the controls there say what so many
    tries give by chance.

    Args:
        model: the model, or a function without arguments that loads it.
        questions: a list, or the path of a file (`questions`); by default those that come with
            lensscope.
        layers: source layers of block outputs; all by default, which is for a large machine.
        target_layers: layers that are written to; all by default.
        max_new_tokens: of each answer.
        random_draws: random vectors for each question and source layer, and drawn ones for each
            layer.
        placeholder: what stands for the first step in the second one's prompt.
        seed: of random vectors, of which other question is the control, and of halves.
        memory_budget: bytes that the batches of a part may take.

    Raises:
        StudyError: no questions, a field that is missing, a file that cannot be read.

    Example:
        >>> study = ls.studies.multihop(
        ...     model, ls.studies.questions(limit=3), layers=[12], target_layers=[4],
        ...     max_new_tokens=2)
        >>> result = study.run()
        >>> result.data["answered"].dims
        ('condition', 'way', 'source_layer', 'target_layer')
    """
    if questions is None or isinstance(questions, str | Path):
        given = read_questions(questions)
    else:
        given = several(questions, "questions", "ls.studies.questions()", StudyError)
    wrong = [q for q in given if not isinstance(q, Question)]
    if wrong:
        raise StudyError(
            "These are not questions.",
            got=repr(wrong[0])[:120],
            expected="ls.studies.Question, or the path of a file",
            instead="ls.studies.questions('questions.json')",
        )
    return Multihop(
        model=model,
        seed=seed,
        memory_budget=memory_budget,
        questions=tuple(given),
        layers=as_layers(layers),
        target_layers=as_layers(target_layers),
        max_new_tokens=max_new_tokens,
        random_draws=random_draws,
        placeholder=placeholder,
    )
