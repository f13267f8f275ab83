"""Training a patchscope, from names or texts to maps and their scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from lensscope.checks.extras import gradients_flow
from lensscope.errors import LensError
from lensscope.lenses.corpus import named
from lensscope.model.backend import Backend
from lensscope.patchscope.fitting.blending import blended
from lensscope.patchscope.fitting.lessons import (
    GOAL,
    Descriptions,
    NextTokens,
    Teacher,
    described,
    every_token,
)
from lensscope.patchscope.fitting.scores import compared, scores_on
from lensscope.patchscope.fitting.settings import FitSettings
from lensscope.patchscope.fitting.speech import Speech, as_names
from lensscope.patchscope.fitting.training import MapTrainer
from lensscope.patchscope.layers import LayersLike, layers_of
from lensscope.patchscope.maps import LayerMaps
from lensscope.patchscope.trained import Trained
from lensscope.patchscope.writing import Writer
from lensscope.values.sites import Site

KIND: Final = "tuned patchscope"
_APART: Final = 1e-3
"""A good learning rate where each layer learns by itself, from every lesson."""


def fitted(
    scope: Writer,
    backend: Backend,
    texts: Any,
    layers: LayersLike,
    checkpoint: Path | None,
    settings: FitSettings,
) -> tuple[LayerMaps, Trained]:
    """As `Patchscope.fit`: the maps, and what is known of their training."""
    gradients_flow("a fit", LensError)
    _check(scope, backend, settings)
    if scope.write.layer is None and settings.learning_rate is None:
        settings = replace(settings, learning_rate=_APART)
    kind = Site((scope.read or scope.write).kind)
    own = layers_of(backend, kind, layers)
    if settings.anchor is not None and settings.anchor not in own:
        raise LensError(
            "The layer that states are brought to is not among the source layers.",
            got=f"anchor={settings.anchor}",
            expected=f"one of {', '.join(map(str, own))}",
            instead=f"anchor={own[0]}, or none for the one that is read best",
        )
    speech = Speech(backend, scope)
    sites = {n: kind(n) for n in own}
    if min(own) < scope.earliest:
        sites[GOAL] = Site(scope.write.kind, scope.earliest)
    teacher: Teacher
    if settings.objective == "description":
        teacher = Descriptions(speech, as_names(texts), sites, settings)
    else:
        teacher = NextTokens(backend, texts, sites, settings)
    trainer = MapTrainer(speech, teacher, own, settings, checkpoint)
    trainer.run()
    maps = trainer.learnt.maps()
    if settings.blend:
        maps = blended(speech, teacher.apart[0], maps)
    trainer.save()
    scores = scores_on(speech, teacher.apart[1], maps)
    provenance = backend.provenance()
    told: Mapping[str, Any] = {
        **settings.told,
        "texts": named(texts),
        "lessons": teacher.hash,
        "steps": teacher.steps,
        "losses": trainer.losses,
        "looks": [[step, sum(losses) / len(losses)] for step, losses in trainer.looks],
    }
    trained = Trained(KIND, provenance, tuple(own), settings=told, scores=tuple(scores))
    return LayerMaps(kind.kind, maps, provenance), trained


def scored(
    scope: Writer,
    backend: Backend,
    texts: Any,
    layers: LayersLike,
    level: float,
    resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """As `Patchscope.scores`.

    Raises:
        LensError: a patchscope that was not trained by `fitted`.
    """
    maps, trained = scope.transform, scope.trained
    if not isinstance(maps, LayerMaps) or trained is None or "objective" not in trained.settings:
        raise LensError(
            "Only a patchscope that was trained here has scores.",
            got=repr(scope)[:200],
            expected="maps from a state to what is written, as fit gives them",
            instead="scope.fit(model, names).scores(model, other_names)",
        )
    maps.check_maps(backend, backend)
    kind = Site(maps.kind)
    asked = list(maps.layers) if layers is None else layers_of(backend, kind, layers)
    sites = {n: kind(n) for n in asked}
    own = {n: maps.at(site) for n, site in sites.items()}
    settings = FitSettings.again(trained.settings)
    speech = Speech(backend, scope)
    if settings.objective == "description":
        lessons = described(speech, as_names(texts), sites, settings)
    else:
        lessons = every_token(backend, texts, sites, settings)
    return compared(speech, lessons, own, level, resamples, seed)


def _check(scope: Writer, backend: Backend, settings: FitSettings) -> None:
    """Refuse what cannot be trained.

    Raises:
        LensError: an anchor that nothing is brought to, a map or a model of its own.
        PromptError: the placeholder.
    """
    why = {
        "anchor= where each layer is written at its own": scope.write.layer is None
        and settings.anchor is not None,
        "a transform of its own": scope.transform is not None,
        "a model of its own": scope.model is not None,
        "an adapter": scope.adapter is not None,
        "the output of a head": any(
            site is not None and site.head is not None for site in (scope.write, scope.read)
        ),
    }
    wrong = [name for name, holds in why.items() if holds]
    if wrong:
        raise LensError(
            "This patchscope cannot be trained.",
            got=f"{repr(scope)[:200]}: {', '.join(wrong)}",
            expected="one that writes into the model that it reads, as it is",
            instead="ls.Patchscope(prompt, write=ls.resid_pre(2), read=ls.resid_post).fit(…)",
        )
    scope.inspection.placed(backend)
