"""The subjects of a relation as the items of a sweep, and when a text has the object."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lensscope.model.backend import Backend
from lensscope.model.tokens import ids_of
from lensscope.patchscope.inspection import InspectionPrompt
from lensscope.studies.controls import derangement
from lensscope.studies.items import Sample
from lensscope.studies.places import placed
from lensscope.studies.relations import Relation
from lensscope.studies.scoring import Match, contains


@dataclass(frozen=True)
class Mentions:
    """Scores a text by whether it has the object in it, and whether it begins so.

    Attributes:
        objects: of each subject, in all spellings.
        firsts: tokens that they begin with in the middle of a text.
        match: what it is to have the object.
    """

    objects: Sequence[Sequence[str]]
    firsts: Sequence[Collection[int]]
    match: Match

    def __call__(self, text: str, item: int, first: int = -1) -> tuple[float, float]:
        right = contains(text, self.objects[item], self.match)
        return (float(right), float(first in self.firsts[item]))


@dataclass(frozen=True, eq=False)
class Subjects:
    """Subjects whose states are read, each in several sentences.

    Attributes:
        backend: the model that they are read in.
        relation: subjects, objects and sentences.
        match: what it is to have the object.
        only_known: count only subjects that the unpatched model answers rightly.
        seed: of which other subject is the control.
    """

    backend: Backend
    relation: Relation
    match: Match
    only_known: bool
    seed: int
    pooled: ClassVar[bool] = True
    metrics: ClassVar[tuple[str, ...]] = ("correct", "first_token")

    @property
    def names(self) -> Sequence[str]:
        """The subjects."""
        return self.relation.subjects

    @property
    def variants(self) -> list[str]:
        """The sentences."""
        return [f"sentence {n}" for n in range(len(self.relation.sentences[0]))]

    @functools.cached_property
    def score(self) -> Mentions:
        """How texts are scored."""
        firsts = [
            {ids_of(self.backend, f" {one}", False)[0] for one in objects}
            for objects in self.relation.objects
        ]
        return Mentions(self.relation.objects, firsts, self.match)

    def sample(self, item: int, variant: int) -> Sample:
        """Where a subject is read."""
        sentence = self.relation.sentences[item][variant]
        own = (self.relation.subjects[item], self.relation.occurrences[item])
        return Sample.of(item, variant, placed(self.backend, sentence, *own), every=False)

    def others(self) -> list[int]:
        """For each subject one of other objects."""
        return derangement(self.relation.objects, self.seed)

    def unpatched(self, item: int, inspection: InspectionPrompt) -> str | None:
        """The inspection prompt with the subject's name in it."""
        return inspection.filled(self.relation.subjects[item]) if self.only_known else None
