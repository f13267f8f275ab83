"""At which layer, and from which tokens, does a model know what a name is the name of?

Ghandeharioun et al. 2024, "Patchscopes", section 4.3: the state of the last token of a name is
written into a prompt of described entities, and what is generated is compared with a description.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from lensscope import checks
from lensscope.errors import StudyError
from lensscope.patchscope.inspection import InspectionPrompt
from lensscope.patchscope.layers import TargetLayers
from lensscope.patchscope.scope import ENTITY_DESCRIPTION, Patchscope
from lensscope.studies.controls import derangement
from lensscope.studies.entities import Entity, entities_of
from lensscope.studies.entities import entities as read_entities
from lensscope.studies.experiments.entity_resolution.summary import entity_result
from lensscope.studies.folder import Folder
from lensscope.studies.given import as_layers, as_scopes, as_targets
from lensscope.studies.places import placed
from lensscope.studies.result import StudyResult
from lensscope.studies.scoring import rouge_l, sentence_model
from lensscope.studies.study import BUDGET
from lensscope.studies.sweep import Sample, SweepStudy

INSPECTIONS: Final = (
    ENTITY_DESCRIPTION,
    "Mount Everest: Highest mountain on Earth, Wolfgang Amadeus Mozart: Austrian composer, Toyota: "
    "Japanese manufacturer of cars, x",
)
"""The paper's inspection prompt, and one of the same form with other entities."""

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
    "City in the United States", is not taken for all.

    Args:
        given: the entities.
        similarity: a sentence model, or ``None`` for ROUGE-L alone.
    """

    def __init__(self, given: Sequence[Entity], similarity: str | None) -> None:
        self.given, self.similarity = given, similarity
        self.names: tuple[str, ...] = ("resolved", "rouge_reference", "rouge_unresolved")
        if similarity is not None:
            self.names += ("similarity_reference", "similarity_unresolved")
        self._references = list(dict.fromkeys(entity.reference.casefold() for entity in given))
        self._nearest: dict[str, str | None] = {}

    def __call__(self, text: str, item: int, first: int = -1) -> tuple[float, ...]:
        entity = self.given[item]
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
        >>> from lensscope.studies.experiments.entity_resolution.study import first_description
        >>> first_description(": American film franchise, The Hunger Games: American film")
        'American film franchise'
    """
    line = text.lstrip(": \n").split("\n", 1)[0]
    return re.split(r",\s[^,:]{1,60}:", line, maxsplit=1)[0].strip()


@dataclass(frozen=True, eq=False)
class EntityResolution(SweepStudy):
    """See `entity_resolution`."""

    given: tuple[Entity, ...]
    ways: tuple[str, ...]
    all_tokens: bool
    similarity: str | None
    kind: ClassVar[str] = "entity_resolution"

    @functools.cached_property
    def scores(self) -> Scores:
        """How descriptions are scored."""
        return Scores(self.given, self.similarity)

    @property
    def metrics(self) -> tuple[str, ...]:
        return self.scores.names

    @property
    def names(self) -> Sequence[str]:
        return [entity.name for entity in self.given]

    @property
    def variants(self) -> Sequence[str]:
        return self.ways

    def sample(self, item: int, variant: int) -> Sample:
        name, way = self.given[item].name, self.ways[variant]
        template, said = VARIANTS[way](name) if way in VARIANTS else (way, name)
        text, every = template.replace("{}", said), self.all_tokens
        found = placed(self.backend, text, said, every=every)
        return Sample.of(item, variant, found, every=every)

    def score(self, text: str, item: int, first: int = -1) -> Sequence[float]:
        return self.scores(text, item)

    def others(self) -> Sequence[int]:
        return derangement([[entity.reference] for entity in self.given], self.seed)

    def check(self) -> None:
        """Refuse what cannot be run, before anything is."""
        super().check()
        self.others()
        self.score("", 0)

    def arguments(self) -> dict[str, Any]:
        return {
            **self.common(),
            "title": f"{len(self.given)} entities",
            "entities": [asdict(entity) for entity in self.given],
            "all_tokens": self.all_tokens,
            "similarity": self.similarity,
            **self.places(),
        }

    @classmethod
    def summary(cls, folder: Folder) -> StudyResult:
        arguments = folder.manifest()["arguments"]
        given = [Entity(**row) for row in arguments["entities"]]
        return entity_result(folder, Scores(given, arguments["similarity"]))


@checks.door(StudyError, similarity=checks.text)
def entity_resolution(
    model: Any,
    entities: Iterable[Entity] | str | Path | None = None,
    *,
    variants: Iterable[str] = ("bare",),
    all_tokens: bool = False,
    layers: Iterable[int] | None = None,
    target_layers: TargetLayers | int = "same",
    inspection: str | InspectionPrompt | Patchscope | Iterable[Any] | None = None,
    max_new_tokens: int = 15,
    similarity: str | None = None,
    random_draws: int = 2,
    seed: int = 0,
    memory_budget: int = BUDGET,
) -> EntityResolution:
    """At which layer, and from which tokens, an entity is resolved: a study, to be `run`.

    The state of a token of a name, at each source layer, is written over the placeholder of an
    inspection prompt that describes entities. What is generated, up to where it goes on to another
    entity, is scored by ROUGE-L (F-measure) against the reference and against the unresolved
    reading, what the last word alone means. A cell is ``resolved`` where the entity's reference is
    nearer than that of every other entity of the study and than the unresolved reading; ties are
    misses. (The paper compares scores over layers, and has no such verdict.) The same is done for
    the controls: what the states of another entity gave; the mean state of the layer over all
    names; vectors with the states' own mean and covariance; random vectors as long as states; the
    inspection prompt as it is.

    A name of which the first token of a text would be read is put behind a lead-in, for that token
    is an attention sink; the result says for how many.

    Args:
        model: the model, or a function without arguments that loads it.
        entities: some of them, or the path of a file of them (`entities`); by default those that
            come with lensscope.
        variants: ways to put the name: ``"bare"``, ``"space"`` (one before it), ``"lower"``,
            ``"upper"``, ``"sentence"``, or a template with ``{}``.
        all_tokens: read each token of the name, not the last one only.
        layers: source layers; all by default.
        target_layers: ``"same"``, one layer, a list, or ``"all"``, to search.
        inspection: one or several inspection prompts with the placeholder ``x``, or patchscopes;
            by default the paper's, and another of the same form.
        max_new_tokens: of each description.
        similarity: also score by the cosine under this sentence model: a folder, or a name in the
            local cache (extra ``similarity``).
        random_draws: random vectors for each layer, and as many with the states' own mean and
            covariance.
        seed: of random vectors, of which other entity is the control, and of halves.
        memory_budget: bytes that the batches of a part may take.

    Raises:
        StudyError: no entities, an unknown variant, a sentence model that is not there.
        PromptError: an inspection prompt without its placeholder.

    Example:
        >>> study = ls.studies.entity_resolution(
        ...     model, ls.studies.entities(limit=6), layers=[4, 8, 12], max_new_tokens=5)
        >>> result = study.run()
        >>> result.data.resolved.sel(condition="state").dims
        ('variant', 'inspection', 'source_layer')
    """
    if entities is None or isinstance(entities, str | Path):
        entities = read_entities(entities)
    instead = 'variants=["bare", "sentence"]'
    ways = (
        (variants,)
        if isinstance(variants, str)
        else tuple(
            checks.text(way, "variants", StudyError)
            for way in checks.several(variants, "variants", instead, StudyError)
        )
    )
    unknown = [way for way in ways if way not in VARIANTS and way.count("{}") != 1]
    if unknown or not ways or len(set(ways)) < len(ways):
        raise StudyError(
            "These are not ways to put a name.",
            got=repr(unknown or ways),
            expected=f"{', '.join(VARIANTS)}, or a template with {{}}, none of them twice",
            instead='variants=["bare", "My teacher told us about {}"]',
        )
    return EntityResolution(
        model=model,
        seed=seed,
        memory_budget=memory_budget,
        scopes=as_scopes(INSPECTIONS if inspection is None else inspection),
        layers=as_layers(layers),
        target_layers=as_targets(target_layers),
        max_new_tokens=max_new_tokens,
        random_draws=random_draws,
        given=entities_of(entities),
        ways=ways,
        all_tokens=all_tokens,
        similarity=similarity,
    )
