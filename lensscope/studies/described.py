"""Entities as the items of a sweep: how a name is put, and how a description of it is scored."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Final

from lensscope.model.backend import Backend
from lensscope.patchscope.inspection import InspectionPrompt
from lensscope.studies.controls import derangement
from lensscope.studies.entities import Entity
from lensscope.studies.items import Sample
from lensscope.studies.places import placed
from lensscope.studies.scoring import rouge_l, sentence_model

VARIANTS: Final[Mapping[str, Callable[[str], tuple[str, str]]]] = {
    "bare": lambda name: ("{}", name),
    "space": lambda name: (" {}", name),
    "lower": lambda name: ("{}", name.lower()),
    "upper": lambda name: ("{}", name.upper()),
    "sentence": lambda name: ("Yesterday I read a long article about {}", name),
}
"""Ways to put a name, which the tokenizer cuts in as many ways."""


class Scores:
    """Scores a description against what an entity is, and what its last word means.

    Not as the paper does, which has no such verdict: a description ``resolved`` an entity where it
    is nearer, by ROUGE-L, to the entity's own reference than to the reference of every other
    entity of the study, and than to its unresolved reading. A tie is none, and neither is a
    description that shares no word with the reference; so one that suits any of them, such as
    "City in the United States", is not taken for all. Descriptions of what has no reference have no
    scores.

    Args:
        given: the entities.
        similarity: a sentence model, or ``None`` for ROUGE-L alone.
    """

    def __init__(self, given: Sequence[Entity], similarity: str | None) -> None:
        self.given, self.similarity = given, similarity
        self.names: tuple[str, ...] = ("resolved", "rouge_reference", "rouge_unresolved")
        if similarity is not None:
            self.names += ("similarity_reference", "similarity_unresolved")
        self._references = list(
            dict.fromkeys(entity.reference.casefold() for entity in given if entity.reference)
        )
        self._nearest: dict[str, str | None] = {}

    def __call__(self, text: str, item: int, first: int = -1) -> tuple[float, ...]:
        entity = self.given[item]
        if not entity.reference:
            return (float("nan"),) * len(self.names)
        said = first_description(text)
        right, wrong, *alike = _scored(said, entity.reference, entity.unresolved, self.similarity)
        resolved = right > wrong and self.nearest(said) == entity.reference.casefold()
        return (float(resolved), right, wrong, *alike)

    def nearest(self, said: str) -> str | None:
        """The one reference that a description is nearest to; ``None`` if two are as near."""
        if said not in self._nearest:
            scores = [rouge_l(said, reference) for reference in self._references]
            largest = max(scores)
            one = largest > 0 and scores.count(largest) == 1
            self._nearest[said] = self._references[scores.index(largest)] if one else None
        return self._nearest[said]


@functools.lru_cache(maxsize=1 << 16)
def _scored(
    said: str, reference: str, unresolved: str, similarity: str | None
) -> tuple[float, ...]:
    """How near a description is to a reference, and to the unresolved reading."""
    found = (rouge_l(said, reference), rouge_l(said, unresolved) if unresolved else 0.0)
    if similarity is None:
        return found
    alike = sentence_model(similarity)
    return (*found, alike(said, reference), alike(said, unresolved) if unresolved else 0.0)


def first_description(text: str) -> str:
    """What a text says before it goes on to the next entity of the pattern, or to another line.

    Example:
        >>> from lensscope.studies.described import first_description
        >>> first_description(": American film franchise, The Hunger Games: American film")
        'American film franchise'
    """
    line = text.lstrip(": \n").split("\n", 1)[0]
    return re.split(r",\s[^,:]{1,60}:", line, maxsplit=1)[0].strip()


@dataclass(frozen=True, eq=False)
class Described:
    """Entities whose names a model reads, so that it describes them.

    Attributes:
        backend: the model that names are read in.
        given: the entities.
        variants: the ways in which a name is put (`VARIANTS`, or a template).
        all_tokens: whether each token of a name is read, and not the last one only.
        similarity: a sentence model that descriptions are scored by too.
        seed: of which other entity is the control.
    """

    backend: Backend
    given: tuple[Entity, ...]
    variants: tuple[str, ...]
    all_tokens: bool
    similarity: str | None
    seed: int
    pooled: ClassVar[bool] = False

    @functools.cached_property
    def score(self) -> Scores:
        """How descriptions are scored."""
        return Scores(self.given, self.similarity)

    @property
    def metrics(self) -> tuple[str, ...]:
        """What they are scored by."""
        return self.score.names

    @property
    def names(self) -> list[str]:
        """The names."""
        return [entity.name for entity in self.given]

    def sample(self, item: int, variant: int) -> Sample:
        """Where a name is read."""
        name, way = self.given[item].name, self.variants[variant]
        template, said = VARIANTS[way](name) if way in VARIANTS else (way, name)
        text, every = template.replace("{}", said), self.all_tokens
        found = placed(self.backend, text, said, every=every)
        return Sample.of(item, variant, found, every=every)

    def others(self) -> list[int]:
        """For each entity one of another reference; what has none stands for itself."""
        known = [n for n, entity in enumerate(self.given) if entity.reference]
        order = derangement([[self.given[n].reference] for n in known], self.seed)
        other = {n: known[at] for n, at in zip(known, order, strict=True)}
        return [other.get(n, n) for n in range(len(self.given))]

    def unpatched(self, item: int, inspection: InspectionPrompt) -> None:
        """All entities count, whatever the model says of their names."""

    def arguments(self) -> dict[str, Any]:
        """What decides the results."""
        return {
            "entities": [asdict(entity) for entity in self.given],
            "all_tokens": self.all_tokens,
            "similarity": self.similarity,
        }
