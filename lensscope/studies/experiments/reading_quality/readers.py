"""The readers that a study compares, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from lensscope import checks
from lensscope.errors import StudyError
from lensscope.model.backend import Backend
from lensscope.patchscope.controls import read_kind
from lensscope.patchscope.inspection import InspectionPrompt
from lensscope.patchscope.layers import layers_of, targets_of
from lensscope.patchscope.mapping import check_models, check_width, mapped
from lensscope.patchscope.scope import Patchscope
from lensscope.studies.given import told_of
from lensscope.values.sites import Site


@dataclass(frozen=True, eq=False)
class NamedReader:
    """A reader with its name, as it reads a model.

    Attributes:
        name: what it is called.
        scope: the patchscope.
        max_new_tokens: how much it says of each state.
    """

    name: str
    scope: Patchscope
    max_new_tokens: int

    @property
    def kind(self) -> Site:
        """What it reads, without a layer."""
        return read_kind(self.scope)

    def layers(self, model: Backend, wanted: tuple[int, ...] | None) -> list[int]:
        """The layers that it reads: those asked for, or those that it was trained on, or all."""
        trained = self.scope.trained
        if wanted is None and trained is not None:
            wanted = trained.layers
        return layers_of(model, self.kind, wanted)

    def write(self, model: Backend) -> Site:
        """Where it writes, in a model."""
        return self.scope.settled(model.n_layers).write

    def target(self, model: Backend, layer: int) -> int:
        """Where it writes a state of a layer."""
        scope = self.scope.settled(model.n_layers)
        return targets_of(model, scope.write, layer, "same", scope.earliest)[0]

    def inspection(self, layer: int) -> InspectionPrompt:
        """Its prompt for states of a layer."""
        return self.scope.inspection.of_layer(layer)

    def check(self, model: Backend, layers: list[int]) -> None:
        """Refuse what does not fit the model.

        Raises:
            PromptError, SiteError, PatchError, BasisError: of its prompt, site, map and width.
        """
        self.inspection(layers[0]).placed(model)
        check_models(self.scope, model, model)
        width = model.shape(Site(self.kind.kind, 0), 1, 1)[-1]
        for layer in layers:
            self.target(model, layer)
            state = torch.ones(width, device=model.device, dtype=model.dtype)
            value = mapped(self.scope, state, model, self.kind.whole(layer))
            check_width(self.scope, model, model, value.shape[-1], width)

    def arguments(self, model: Backend, layers: list[int]) -> dict[str, Any]:
        """What decides what it says."""
        adapter, trained, earliest = self.scope.adapter, self.scope.trained, self.scope.earliest
        return {
            "name": self.name,
            **told_of(self.scope),
            "adapter": adapter and adapter.signature,
            "read": repr(self.kind),
            "write": repr(self.write(model)) + (f" from {earliest}" if earliest else ""),
            "layers": layers,
            "max_new_tokens": self.max_new_tokens,
            "notes": [] if trained is None else list(trained.notes_on(model, layers)),
        }


def as_readers(given: Any, max_new_tokens: int | None) -> tuple[NamedReader, ...]:
    """One or several patchscopes by name, as a study keeps them.

    Raises:
        StudyError: none, something else, two of one name, or one of another model.
    """
    if isinstance(given, Patchscope):
        given = [given]
    if isinstance(given, Mapping):
        pairs = list(given.items())
    else:
        instead = '{"raw": ls.Patchscope.entity_description(write=ls.resid_pre(2))}'
        pairs = _called(checks.several(given, "scopes", instead, StudyError))
    wrong = [one for name, one in pairs if not isinstance(one, Patchscope)]
    unnamed = [name for name, _ in pairs if not isinstance(name, str) or not name.strip()]
    if not pairs or wrong or unnamed:
        raise StudyError(
            "These are not readers.",
            got=checks.seen(wrong[0] if wrong else unnamed[0] if unnamed else given),
            expected="a Patchscope, several of them, or several by name",
            instead='{"raw": ls.Patchscope.entity_description(write=ls.resid_pre(2)), …}',
        )
    for name, scope in pairs:
        if scope.model is not None:
            raise StudyError(
                "A reader speaks through the model that it reads.",
                got=f"{name}, with a model of its own",
                expected="a patchscope without model=",
                instead="scope.inspect(model, prompt), or ls.studies.cross_model for two models",
            )
    return tuple(
        NamedReader(str(name), _sent(scope), max_new_tokens or scope.max_new_tokens)
        for name, scope in pairs
    )


def _sent(scope: Patchscope) -> Patchscope:
    """Without the way back of a reader, which is a model of its own, and not asked for here."""
    trained = scope.trained
    return scope if trained is None else replace(scope, trained=replace(trained, back=None))


def _called(scopes: list[Any]) -> list[tuple[str, Any]]:
    """Patchscopes without names, by what they are; of several alike, with their number."""
    names = [
        getattr(getattr(scope, "trained", None), "kind", None) or "patchscope" for scope in scopes
    ]
    found = []
    for n, (name, scope) in enumerate(zip(names, scopes, strict=True)):
        number = f" {names[: n + 1].count(name)}" if names.count(name) > 1 else ""
        found.append((f"{name}{number}", scope))
    return found
