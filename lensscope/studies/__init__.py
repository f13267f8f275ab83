"""The experiments of the Patchscopes paper as studies: with controls, resumable, on any machine.

Ghandeharioun et al. 2024, "Patchscopes: A Unifying Framework for Inspecting Hidden Representations
of Language Models" (ICML), section 4.
"""

from __future__ import annotations

from lensscope.studies.attribute_extraction import attribute_extraction
from lensscope.studies.cross_model import cross_model
from lensscope.studies.entities import Entity, entities
from lensscope.studies.entity_resolution import entity_resolution
from lensscope.studies.loading import load
from lensscope.studies.multihop import multihop
from lensscope.studies.next_token import next_token
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
    "relation",
    "relations",
]
