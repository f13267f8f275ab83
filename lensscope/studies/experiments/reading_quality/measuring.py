"""What a reader says of some items' states and of their controls, and how good each text is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.engine.following import log_probabilities
from lensscope.model.backend import Backend
from lensscope.model.tokens import tokenize
from lensscope.patchscope.controls import Written, said_of, written_of
from lensscope.patchscope.inspection import InspectionPrompt
from lensscope.patchscope.writing import adapted, write_and_decode
from lensscope.studies.experiments.reading_quality.descriptions import (
    Said,
    agreement,
    brief_of,
    counted,
    nats_of,
    ranked_first,
)
from lensscope.studies.experiments.reading_quality.readers import NamedReader
from lensscope.studies.said import ROWS
from lensscope.values.prompts import TokenizedPrompt


class Line(NamedTuple):
    """A text that is scored for an item: which of what is written it is of."""

    item: int
    condition: str
    draw: int
    layer: int
    row: int


@dataclass(frozen=True, eq=False)
class Task:
    """Some items' states at some layers, in the words of one reader.

    Attributes:
        backend: the model.
        reader: the reader.
        names: of all items.
        items: those whose states these are; each is the control of the one before it.
        candidates: for each of them the items that its name is told from, itself first; empty where
            that is not asked.
        states: of them at each layer, ``[item, layer, width]``.
        layers: the layers.
        nulls: vectors of no item by condition, ``[draw, layer, width]``.
        own: the tokens that the model itself says of each item, by inspection prompt.
        whole: whether all that is said counts, also where it goes on to another entity.
        memory_budget: bytes that a run may take.
    """

    backend: Backend
    reader: NamedReader
    names: Sequence[str]
    items: Sequence[int]
    candidates: Sequence[Sequence[int]]
    states: Float[Tensor, "item layer width"]
    layers: Sequence[int]
    nulls: Mapping[str, Float[Tensor, "draw layer width"]]
    own: Mapping[InspectionPrompt, Sequence[Sequence[int]]]
    whole: bool
    memory_budget: int

    def lines(self) -> list[dict[str, Any]]:
        """A line for each item, layer and condition, with its scores."""
        rows, lines = self._written()
        said = self._said(rows)
        own = {
            (inspection, item): self._counted(
                inspection, self.named(inspection, item), self.own[inspection][item]
            )
            for inspection in self.inspections
            for item in self.items
        }
        nats = self._nats(rows, lines, own)
        first = self._identified(said, lines)
        found = []
        for n, line in enumerate(lines):
            inspection = self.reader.inspection(line.layer)
            reading, reference = said[line.row], own[inspection, line.item]
            scores = {**agreement(reading, reference), "nats": nats[n]}
            found.append(
                {
                    "item": line.item,
                    "name": self.names[line.item],
                    "reader": self.reader.name,
                    "condition": line.condition,
                    "draw": line.draw,
                    "source_layer": line.layer,
                    "target_layer": rows[line.row][2],
                    "text": reading.text,
                    "own": reference.text,
                    **scores,
                    **({"identified": first[n]} if first else {}),
                }
            )
        return found

    @property
    def inspections(self) -> list[InspectionPrompt]:
        """The reader's prompts: one, unless it names the layer."""
        return list(dict.fromkeys(self.reader.inspection(layer) for layer in self.layers))

    def named(self, inspection: InspectionPrompt, item: int) -> TokenizedPrompt:
        """The prompt with an item's name in place of the placeholder."""
        return named(self.backend, inspection, self.names[item])

    def _written(self) -> tuple[list[Written], list[Line]]:
        """What is written, each once, and the texts that are scored: of which row, for which
        item."""
        rows: list[Written] = []
        lines: list[Line] = []
        n = len(self.items)
        for at, layer in enumerate(self.layers):
            to, first = self.reader.target(self.backend, layer), len(rows)
            rows += [(state, layer, to) for state in self.states[:, at]]
            for place, item in enumerate(self.items):
                lines.append(Line(item, "state", 0, layer, first + place))
                lines.append(Line(item, "shuffled", 0, layer, first + (place + 1) % n))
            others: list[tuple[str, int, Tensor | None]] = [("prior", 0, None)]
            for condition, vectors in self.nulls.items():
                others += [(condition, draw, own[at]) for draw, own in enumerate(vectors)]
            for condition, draw, vector in others:
                lines += [Line(item, condition, draw, layer, len(rows)) for item in self.items]
                rows.append((vector, layer, to))
        return rows, lines

    def _said(self, rows: Sequence[Written]) -> list[Said]:
        """What the reader says of each row."""
        scope, number = self.reader.scope, self.reader.max_new_tokens
        budget = self.memory_budget
        words = said_of(scope, self.backend, rows, number, at_once=ROWS, memory_budget=budget)
        found = []
        for (_, layer, _), one in zip(rows, words, strict=True):
            inspection = self.reader.inspection(layer)
            prompt = inspection.tokenized(self.backend)
            found.append(self._counted(inspection, prompt, one.ids))
        return found

    def _counted(
        self, inspection: InspectionPrompt, prompt: TokenizedPrompt, ids: Sequence[int]
    ) -> Said:
        brief = None if self.whole else brief_of(inspection)
        return counted(self.backend, prompt, ids, brief)

    def _nats(
        self,
        rows: Sequence[Written],
        lines: Sequence[Line],
        own: Mapping[tuple[InspectionPrompt, int], Said],
    ) -> list[float]:
        """For each line, minus the mean log-probability of a token of what the model says itself of
        the item, after the reader's prompt with what is written there."""
        found = [float("nan")] * len(lines)
        for (inspection, item), said in own.items():
            at = [
                n
                for n, line in enumerate(lines)
                if line.item == item and self.reader.inspection(line.layer) == inspection
            ]
            if said.counted:
                values = self._following(inspection, said, [rows[lines[n].row] for n in at])
                for n, value in zip(at, values, strict=True):
                    found[n] = value
        return found

    def _following(
        self, inspection: InspectionPrompt, said: Said, rows: Sequence[Written]
    ) -> Iterator[float]:
        backend, scope = self.backend, self.reader.scope
        prompt = inspection.tokenized(backend)
        n, ids = len(prompt), said.counted
        with adapted(scope, backend):
            for runs in write_and_decode(
                backend,
                tokenize(backend, [*prompt.ids, *ids[:-1]])[0],
                inspection.placed(backend),
                (written_of(scope, backend, backend, row) for row in rows),
                patch=scope.patch,
                positions=slice(n - 1, n - 1 + len(ids)),
                metric=lambda logits: nats_of(logits, ids),
                at_once=ROWS,
                memory_budget=self.memory_budget,
            ):
                assert runs.metric is not None
                yield from runs.metric.tolist()

    def _identified(self, said: Sequence[Said], lines: Sequence[Line]) -> list[float]:
        """For each line, whether the item's name makes what was said more probable than each of the
        other candidates' names; empty where that is not asked."""
        if not self.candidates:
            return []
        found = [0.0] * len(lines)
        candidates = dict(zip(self.items, self.candidates, strict=True))
        for inspection in self.inspections:
            at = [
                n
                for n, line in enumerate(lines)
                if self.reader.inspection(line.layer) == inspection
            ]
            texts = list(dict.fromkeys(said[lines[n].row].counted for n in at))
            place = {text: n for n, text in enumerate(texts)}
            scores = {
                item: log_probabilities(
                    self.backend, self.named(inspection, item), texts, self.memory_budget
                )
                for item in dict.fromkeys(c for own in self.candidates for c in own)
            }
            for n in at:
                text = place[said[lines[n].row].counted]
                own = torch.stack([scores[c][text] for c in candidates[lines[n].item]])
                found[n] = ranked_first(own)
        return found


def named(backend: Backend, inspection: InspectionPrompt, name: str) -> TokenizedPrompt:
    """An inspection prompt with a name in place of its placeholder, as tokens."""
    return tokenize(backend, inspection.filled(name), inspection.prepend_bos)[0]
