"""At which layer, and from which tokens, does a model know what a name is the name of?

Ghandeharioun et al. 2024, "Patchscopes", section 4.3: the state of the last token of a name is
written into a prompt of described entities, and what is generated is compared with a description.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from lensscope import checks
from lensscope.errors import StudyError
from lensscope.patchscope.inspection import InspectionPrompt
from lensscope.patchscope.layers import TargetLayers
from lensscope.patchscope.presets import ENTITY_DESCRIPTION
from lensscope.patchscope.scope import Patchscope
from lensscope.studies.described import VARIANTS, Described, Scores
from lensscope.studies.entities import Entity, entities_of
from lensscope.studies.entities import entities as read_entities
from lensscope.studies.experiments.entity_resolution.summary import entity_result
from lensscope.studies.folder import Folder
from lensscope.studies.items import Sample
from lensscope.studies.result import StudyResult
from lensscope.studies.study import BUDGET
from lensscope.studies.sweep import Grid
from lensscope.studies.swept import SweptStudy

if TYPE_CHECKING:
    pass

INSPECTIONS: Final = (
    ENTITY_DESCRIPTION,
    "Mount Everest: Highest mountain on Earth, Wolfgang Amadeus Mozart: Austrian composer, Toyota: "
    "Japanese manufacturer of cars, x",
)
"""The paper's inspection prompt, and one of the same form with other entities."""


@dataclass(frozen=True, eq=False, repr=False)
class EntityResolution(SweptStudy):
    """See `entity_resolution`."""

    given: tuple[Entity, ...]
    ways: tuple[str, ...]
    all_tokens: bool
    similarity: str | None
    kind: ClassVar[str] = "entity_resolution"

    @functools.cached_property
    def items(self) -> Described:
        """The entities as they are read and scored."""
        own = (self.given, self.ways, self.all_tokens, self.similarity, self.seed)
        return Described(self.backend, *own)

    def sample(self, item: int, variant: int) -> Sample:
        """Where an entity's states are read."""
        return self.items.sample(item, variant)

    def score(self, text: str, item: int) -> Sequence[float]:
        """How a description of an entity is scored."""
        return self.items.score(text, item)

    def others(self) -> Sequence[int]:
        """For each entity the one that is its control."""
        return self.items.others()

    def arguments(self) -> dict[str, Any]:
        return {
            **self.sweep.arguments(),
            "title": f"{len(self.given)} entities",
            **self.items.arguments(),
            **self.sweep.places(),
        }

    @classmethod
    def summary(cls, folder: Folder) -> StudyResult:
        arguments = folder.manifest()["arguments"]
        given = [Entity(**row) for row in arguments["entities"]]
        return entity_result(folder, Scores(given, arguments["similarity"]))


@checks.door(StudyError, similarity=checks.text)
def entity_resolution(
    model: Any,
    entities: Iterable[Entity | str] | str | Path | None = None,
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
            come with lensscope. Of a name alone there is no reference: what is said of it is shown
            and not scored.
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
        SiteError: layers that the model lacks.

    Example:
        >>> study = ls.studies.entity_resolution(
        ...     model, ls.studies.entities(limit=2), layers=[8], max_new_tokens=3)
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
        grid=Grid.of(inspection, INSPECTIONS, layers, target_layers, max_new_tokens, random_draws),
        given=entities_of(entities),
        ways=ways,
        all_tokens=all_tokens,
        similarity=similarity,
    )
