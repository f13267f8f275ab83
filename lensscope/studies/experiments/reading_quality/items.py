"""Names as a study of readers reads them: each in a sentence, in groups, told from others."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.engine.capture import capture
from lensscope.errors import StudyError
from lensscope.model.backend import Backend
from lensscope.studies.controls import groups
from lensscope.studies.entities import Entity, entities, entities_of
from lensscope.studies.places import LEAD_IN, Placed, placed
from lensscope.values.sites import Site

TEMPLATE: Final = "I have read about {}"
CANDIDATES: Final = 20
_AT_ONCE: Final = 32
"""Prompts that are run together."""


@dataclass(frozen=True, eq=False)
class NamesInSentences:
    """Names, each read at its last token in a sentence.

    Attributes:
        backend: the model.
        given: the names, and what else is known of them.
        template: the sentence.
        size: how many make a group, and among how many a name is told from the others.
        seed: of the groups, and of the others.
        memory_budget: bytes that reading may take.
    """

    backend: Backend
    given: tuple[Entity, ...]
    template: str
    size: int
    seed: int
    memory_budget: int

    @property
    def names(self) -> list[str]:
        """The names."""
        return [entity.name for entity in self.given]

    @functools.cached_property
    def groups(self) -> list[list[int]]:
        """The names of each part; in a group each is the control of the one before it."""
        return groups(len(self.given), self.size, self.seed)

    @functools.cached_property
    def placed(self) -> list[Placed]:
        """Where each name stands in its sentence."""
        texts = [self.template.replace("{}", name) for name in self.names]
        each = zip(texts, self.names, strict=True)
        return [placed(self.backend, text, name) for text, name in each]

    def candidates(self, group: int) -> list[list[int]]:
        """For each name of a group those that it is told from, itself first; those of its group as
        far as there are enough."""
        own = self.groups[group]
        rest = [n for n in range(len(self.given)) if n not in own]
        more = np.random.default_rng((self.seed, group)).permutation(rest).tolist()
        return [[*own[at:], *own[:at], *map(int, more)][: self.size] for at in range(len(own))]

    def states(
        self, kind: Site, layers: Sequence[int], items: Iterable[int]
    ) -> Iterator[Float[Tensor, "layer width"]]:
        """The states of names at some layers, one name after another."""
        items = list(items)
        sites = [kind.whole(layer) for layer in layers]
        for first in range(0, len(items), _AT_ONCE):
            own = [self.placed[n] for n in items[first : first + _AT_ONCE]]
            cache = capture(
                self.backend,
                [list(at.prompt.ids) for at in own],
                sites,
                prepend_bos=False,
                memory_budget=self.memory_budget,
            )
            for n, at in enumerate(own):
                found = torch.stack([cache[site][n, at.tokens[-1]] for site in sites])
                yield found if kind.head is None else found[:, kind.head]

    def arguments(self) -> dict[str, Any]:
        """What decides what is read, and what must be said of where."""
        each = zip(self.names, self.placed, strict=True)
        return {
            "entities": [asdict(entity) for entity in self.given],
            "template": self.template,
            "lead_in": LEAD_IN,
            "samples_with_lead_in": sum(at.led for at in self.placed),
            "names_inside_words": [name for name, at in each if at.inside],
        }


def as_names(given: Any, template: str) -> tuple[Entity, ...]:
    """Names, or entities, each once; by default those that come with lensscope.

    Raises:
        StudyError: none, one that is empty or there twice, or a template without its ``{}``.
    """
    found = entities_of(entities() if given is None else given)
    names = [entity.name.strip() for entity in found]
    twice = [name for n, name in enumerate(names) if name in names[:n]]
    if not names or twice:
        raise StudyError(
            "A name is there twice." if twice else "The study has no items.",
            got=repr(twice[0]) if twice else "an empty set",
            expected="at least two names, each once",
            instead='["Jurassic Park", "Diana, Princess of Wales"], or ls.studies.entities()',
        )
    if template.count("{}") != 1:
        raise StudyError(
            "A template says where the name stands.",
            got=repr(template),
            expected="a sentence with {} once",
            instead=f"template={TEMPLATE!r}",
        )
    return found
