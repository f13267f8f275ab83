"""How good is a reader? What it says of names' states, beside what the model says of the names.

A patchscope, trained or not, is asked for names that are read inside a sentence; the judge is the
model itself, where the name stands in the same prompt as text.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import torch
from torch import Tensor

from lensscope import checks
from lensscope.checks import whole_number
from lensscope.engine.generate import generate
from lensscope.errors import StudyError
from lensscope.patchscope.inspection import InspectionPrompt
from lensscope.patchscope.scope import Patchscope
from lensscope.studies.controls import of_no_item
from lensscope.studies.entities import Entity
from lensscope.studies.experiments.reading_quality.items import (
    CANDIDATES,
    TEMPLATE,
    NamesInSentences,
    as_names,
)
from lensscope.studies.experiments.reading_quality.measuring import Task, named
from lensscope.studies.experiments.reading_quality.readers import NamedReader, as_readers
from lensscope.studies.experiments.reading_quality.summary import METRICS, quality_result
from lensscope.studies.folder import Folder
from lensscope.studies.given import as_layers
from lensscope.studies.parts import READINGS, Part
from lensscope.studies.result import StudyResult
from lensscope.studies.study import BUDGET, Study
from lensscope.values.sites import Site

if TYPE_CHECKING:
    import pandas as pd

_BLOCK: Final = 8
"""Layers of a part."""


@dataclass(frozen=True, eq=False, repr=False)
class ReadingQuality(Study):
    """See `reading_quality`."""

    readers: tuple[NamedReader, ...]
    given: tuple[Entity, ...]
    template: str
    wanted: tuple[int, ...] | None
    whole: bool
    identify: bool
    n_candidates: int
    random_draws: int
    kind: ClassVar[str] = "reading_quality"

    # ---------------------------------------------------------------- what is read

    @functools.cached_property
    def items(self) -> NamesInSentences:
        """The names, as they are read."""
        size = self.n_candidates if self.identify else CANDIDATES
        own = (self.given, self.template, size, self.seed, self.memory_budget)
        return NamesInSentences(self.backend, *own)

    @functools.cached_property
    def layers(self) -> list[list[int]]:
        """For each reader its layers."""
        return [reader.layers(self.backend, self.wanted) for reader in self.readers]

    @functools.cached_property
    def kinds(self) -> dict[Site, list[int]]:
        """The kinds of site that are read, each with the layers that any reader reads of it."""
        found: dict[Site, set[int]] = {}
        for reader, layers in zip(self.readers, self.layers, strict=True):
            found.setdefault(reader.kind, set()).update(layers)
        return {kind: sorted(layers) for kind, layers in found.items()}

    @functools.cached_property
    def prompts(self) -> list[tuple[InspectionPrompt, int]]:
        """The readers' prompts for each layer, each once, and how much the model says after
        them."""
        each = zip(self.readers, self.layers, strict=True)
        found = [(r.inspection(n), r.max_new_tokens) for r, layers in each for n in layers]
        return list(dict.fromkeys(found))

    def blocks(self, reader: int) -> list[list[int]]:
        """A reader's layers, as parts have them."""
        own = self.layers[reader]
        return [own[n : n + _BLOCK] for n in range(0, len(own), _BLOCK)]

    # ---------------------------------------------------------------- what it is

    def arguments(self) -> dict[str, Any]:
        each = zip(self.readers, self.layers, strict=True)
        first = [reader.inspection(n[0]).placed(self.backend)[0] == 0 for reader, n in each]
        each = zip(self.readers, self.layers, strict=True)
        return {
            "title": f"{len(self.readers)} readers of {len(self.given)} names"
            if len(self.readers) > 1
            else f"{self.readers[0].name}, {len(self.given)} names",
            "readers": [reader.arguments(self.backend, layers) for reader, layers in each],
            "metrics": list(METRICS if self.identify else METRICS[:-1]),
            **self.items.arguments(),
            "whole": self.whole,
            "n_candidates": self.n_candidates if self.identify else None,
            "random_draws": self.random_draws,
            "seed": self.seed,
            "memory_budget": self.memory_budget,
            "placeholders_at_the_first_token": sum(first),
        }

    def parts(self) -> list[Part]:
        return [
            READINGS.part(group, reader, block)
            for group in range(len(self.items.groups))
            for reader in range(len(self.readers))
            for block in range(len(self.blocks(reader)))
        ]

    def check(self) -> None:
        """Refuse what cannot be run, before anything is.

        Raises:
            StudyError: a name alone, too few for so many candidates, a map of which it cannot be
                told later whether it is the same.
            PromptError, SiteError, PatchError, BasisError: of a reader that does not suit.
        """
        whole_number(self.random_draws, "random_draws", 1, 1, error=StudyError)
        whole_number(self.n_candidates, "n_candidates", 2, CANDIDATES, error=StudyError)
        if self.identify and len(self.given) < self.n_candidates:
            raise StudyError(
                "There are not so many names to tell one from.",
                got=f"{len(self.given)} names, n_candidates={self.n_candidates}",
                expected="at least as many names as candidates",
                instead=f"n_candidates={max(2, len(self.given))}, or identify=False",
            )
        _ = self.items.groups
        for reader, layers in zip(self.readers, self.layers, strict=True):
            whole_number(reader.max_new_tokens, "max_new_tokens", 1, 10, error=StudyError)
            reader.check(self.backend, layers)
        self.arguments()

    def prepare(self) -> Mapping[str, Tensor]:
        """For each kind of site what is written and no item's; and what the model itself says of
        each name, ``[item, token]``, -1 behind its end."""
        found: dict[str, Tensor] = {}
        everybody = range(len(self.given))
        for n, (kind, layers) in enumerate(self.kinds.items()):
            states = self.items.states(kind, layers, everybody)
            for name, vectors in of_no_item(
                states, len(self.given), self.random_draws, self.seed
            ).items():
                found[f"{name} {n}"] = vectors
        for n, (inspection, number) in enumerate(self.prompts):
            asked = [named(self.backend, inspection, name) for name in self.items.names]
            said = generate(
                self.backend,
                asked,
                max_new_tokens=number,
                prepend_bos=False,
                memory_budget=self.memory_budget,
            ).token_ids
            rows = [[*ids, *[-1] * (number - len(ids))] for ids in said]
            found[f"own {n}"] = torch.tensor(rows)
        return found

    def measure(self, part: Part, shared: Mapping[str, Tensor]) -> pd.DataFrame:
        """A line for each item of a group, layer of a block, and condition."""
        group, number, block = part.numbers
        reader, items = self.readers[number], self.items.groups[group]
        layers = self.blocks(number)[block]
        kind = list(self.kinds).index(reader.kind)
        at = [self.kinds[reader.kind].index(layer) for layer in layers]
        nulls = {"mean": shared[f"mean {kind}"][None, at]}
        nulls |= {name: shared[f"{name} {kind}"][:, at] for name in ("drawn", "random")}
        own = {
            inspection: [[i for i in row if i >= 0] for row in shared[f"own {n}"].tolist()]
            for n, (inspection, tokens) in enumerate(self.prompts)
            if tokens == reader.max_new_tokens
        }
        task = Task(
            self.backend,
            reader,
            self.items.names,
            items,
            self.items.candidates(group) if self.identify else [],
            torch.stack(list(self.items.states(reader.kind, layers, items))),
            layers,
            nulls,
            own,
            self.whole,
            self.memory_budget,
        )
        return READINGS.frame(task.lines(), METRICS if self.identify else METRICS[:-1])

    @classmethod
    def summary(cls, folder: Folder) -> StudyResult:
        return quality_result(folder)


@checks.door(StudyError, template=checks.text, whole=checks.flag, identify=checks.flag)
def reading_quality(
    model: Any,
    scopes: Patchscope | Mapping[str, Patchscope] | Iterable[Patchscope],
    items: Iterable[Entity | str] | None = None,
    *,
    template: str = TEMPLATE,
    layers: Iterable[int] | int | None = None,
    max_new_tokens: int | None = None,
    whole: bool = False,
    identify: bool = True,
    n_candidates: int = CANDIDATES,
    random_draws: int = 1,
    seed: int = 0,
    memory_budget: int = BUDGET,
) -> ReadingQuality:
    """How near what readers say of names' states is to what the model says of the names: a study,
    to be `run`.

    Each name stands in a sentence and is read at its last token, at each layer; each reader writes
    the state as it does, and says something. The judge is what the model itself says, greedily and
    as long, where the name stands as text in the place of the placeholder. Of a prompt that goes on
    from entity to entity, the first description counts, of both, unless all of it is wanted. By
    reader, layer and condition:

    - ``rouge_l``: ROUGE-L (F-measure) of what the reader says with the model's own description;
    - ``first_tokens``, ``first_word``: whether the first four tokens, or the first word, are the
      same;
    - ``nats``: minus the mean log-probability of a token of the model's own description, after the
      reader's prompt with the state written into it;
    - ``identified``: whether what the reader says is more probable after the prompt with this name
      in it than with any of the ``n_candidates - 1`` names that it is told from; a tie is not. By
      chance it is one in ``n_candidates``.

    The conditions are those of all studies: the state; the state of another name; the mean state of
    the layer; vectors with the states' own mean and covariance; random vectors as long as states;
    nothing written. A reader's adapter acts only while it speaks, not where the model judges it.
    With several readers, each is set beside the first: the differences are of the same names.

    Args:
        model: the model, or a function without arguments that loads it.
        scopes: a patchscope, several, or several by name; of each its own prompt, site, rule, map
            and adapter.
        items: names, or entities; by default those that come with lensscope.
        template: the sentence, with ``{}`` for the name.
        layers: source layers; by default those that a reader was trained on, or all.
        max_new_tokens: how much is said of each state; each reader's own number by default.
        whole: whether all that is said counts. Then ROUGE-L is higher, also of the wrong name: what
            is said of the next entity of the list is much the same for all.
        identify: whether names are told apart by what is said of them; that takes most of the time.
        n_candidates: among how many names.
        random_draws: random vectors for each layer, and as many with the states' own mean and
            covariance.
        seed: of random vectors, of which names are the candidates and the control, and of halves.
        memory_budget: bytes that the batches of a part may take.

    Raises:
        StudyError: no readers or names, a name that is empty or there twice, fewer names than
            candidates, a reader with a model of its own.
        PromptError, SiteError, PatchError, BasisError: a reader that does not suit the model.

    Example:
        >>> scope = ls.Patchscope.entity_description(
        ...     write=ls.resid_pre(2), read=ls.resid_post, max_new_tokens=4)
        >>> study = ls.studies.reading_quality(
        ...     model, {"raw": scope}, ["Jurassic Park", "Diana, Princess of Wales", "Toyota"],
        ...     layers=[8], n_candidates=3)
        >>> study.run().data.rouge_l.dims
        ('condition', 'reader', 'layer')
    """
    if max_new_tokens is not None:
        whole_number(max_new_tokens, "max_new_tokens", 1, 10, error=StudyError)
    return ReadingQuality(
        model=model,
        seed=seed,
        memory_budget=memory_budget,
        readers=as_readers(scopes, max_new_tokens),
        given=as_names(items, template),
        template=template,
        wanted=as_layers(layers),
        whole=whole,
        identify=identify,
        n_candidates=n_candidates,
        random_draws=random_draws,
    )
