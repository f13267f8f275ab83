"""The experiments of the Patchscopes paper as studies: with controls, resumable, on any machine.

Ghandeharioun et al. 2024, "Patchscopes: A Unifying Framework for Inspecting Hidden Representations
of Language Models" (ICML), section 4.

Example:
    >>> ls.studies.relations()[:3]
    ['animal_young', 'capital', 'continent']
"""

from __future__ import annotations

from lensscope.studies.entities import Entity, entities
from lensscope.studies.experiments.attribute_extraction.study import attribute_extraction
from lensscope.studies.experiments.cross_model.study import cross_model
from lensscope.studies.experiments.entity_resolution.study import entity_resolution
from lensscope.studies.experiments.multihop.study import multihop
from lensscope.studies.experiments.next_token.study import next_token
from lensscope.studies.experiments.reading_quality.study import reading_quality
from lensscope.studies.loading import load
from lensscope.studies.questions import Question, questions
from lensscope.studies.relations import Relation, relation, relations
from lensscope.studies.result import StudyResult

__all__ = [
    "Entity",
    "Question",
    "Relation",
    "StudyResult",
    "attribute_extraction",
    "cross_model",
    "entities",
    "entity_resolution",
    "load",
    "multihop",
    "next_token",
    "questions",
    "reading_quality",
    "relation",
    "relations",
]


def __dir__() -> list[str]:
    return __all__
