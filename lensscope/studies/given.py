"""What studies are given, as they keep it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from lensscope.checks import several
from lensscope.errors import StudyError
from lensscope.lenses.lens import Lens, lenses_of
from lensscope.patchscope.inspection import InspectionPrompt
from lensscope.patchscope.layers import TargetLayers
from lensscope.patchscope.scope import Patchscope
from lensscope.store.json_text import hash_of
from lensscope.values.transforms import Affine, ScaledTo, identity


def as_scopes(given: Any) -> tuple[Patchscope, ...]:
    """Patchscopes from one or several inspection prompts or patchscopes.

    Raises:
        StudyError: none, two alike, or ones that read or write at different sites or models.
    """
    one = isinstance(given, str | InspectionPrompt | Patchscope)
    each = [given] if one else several(given, "inspection", '["The largest city in x"]', StudyError)
    prompts = [InspectionPrompt(one) if isinstance(one, str) else one for one in each]
    scopes = tuple(one if isinstance(one, Patchscope) else Patchscope(one) for one in prompts)
    places = {(repr(scope.read), repr(scope.write), id(scope.model)) for scope in scopes}
    texts = {scope.inspection.text for scope in scopes}
    if not scopes or len(places) > 1 or len(texts) < len(scopes):
        raise StudyError(
            "These inspection prompts do not make one study.",
            got=", ".join(repr(scope.inspection.text) for scope in scopes) or "none",
            expected="at least one, each another text, all read and written at the same sites",
            instead='inspection=["The largest city in x"]',
        )
    for scope in scopes:
        chosen = (scope.write.layer, scope.model, scope.adapter, scope.earliest or None)
        if any(one is not None for one in chosen):
            raise StudyError(
                "A study chooses layers and models itself.",
                got=f"write={scope.write!r}, model={type(scope.model).__name__}, "
                f"adapter={scope.adapter!r}, earliest={scope.earliest}",
                expected="a patchscope that writes at a kind of site, in the model of the study as "
                "it is",
                instead="target_layers=2 for one layer; ls.studies.cross_model for two models",
            )
    return scopes


def as_scope(given: Any) -> Patchscope:
    """One patchscope, from an inspection prompt or a patchscope.

    Raises:
        StudyError: several.
    """
    scopes = as_scopes(given)
    if len(scopes) > 1:
        raise StudyError(
            "Here there is one inspection prompt.",
            got=", ".join(repr(scope.inspection.text) for scope in scopes),
            expected="one prompt, or one patchscope",
            instead="a study for each",
        )
    return scopes[0]


def as_layers(layers: Iterable[int] | int | None) -> tuple[int, ...] | None:
    """Source layers; ``None`` for all."""
    return None if layers is None else _numbers(layers, "layers", "layers=[4, 8, 12]")


def _numbers(layers: Iterable[int] | int, name: str, instead: str) -> tuple[int, ...]:
    given = [layers] if isinstance(layers, int) else layers
    return tuple(dict.fromkeys(several(given, name, instead, StudyError)))


def as_targets(targets: Any) -> TargetLayers:
    """Target layers: ``"same"``, ``"all"``, or a list.

    Raises:
        StudyError: something else.
    """
    instead = "target_layers=[2, 4, 6]"
    if isinstance(targets, str):
        if targets not in ("same", "all"):
            raise StudyError(
                "There is no such choice of target layers.",
                got=repr(targets),
                expected='"same", "all", one layer, or a list of layers',
                instead=instead,
            )
        return targets
    return _numbers(targets, "target_layers", instead)


def signature(transform: Any) -> str | None:
    """What tells a transform apart from another.

    Raises:
        StudyError: nothing does.
    """
    if transform is None:
        return None
    found = getattr(transform, "signature", None)
    if isinstance(found, str):
        return found
    if isinstance(found, tuple):
        return hash_of(found)
    if isinstance(transform, Affine | ScaledTo) or transform is identity:
        numbers = list(vars(transform).values()) if transform is not identity else []
        parts = [v.tolist() if isinstance(v, Tensor) else v for v in numbers]
        return hash_of((type(transform).__name__, parts))
    raise StudyError(
        "Of a transform it cannot be told whether it is the same later.",
        got=repr(transform),
        expected="a map of lensscope, or an object with a text `signature`",
        instead="ls.affine(A, b), ls.scaled_to(norm), or a fitted AffineLens",
    )


def told_of(scope: Patchscope) -> dict[str, Any]:
    """What decides what a patchscope says of a state, besides where it is read and written.

    Raises:
        StudyError: of its transform it cannot be told whether it is the same later.
    """
    return {
        "text": scope.inspection.told,
        "placeholder": scope.inspection.placeholder,
        "prepend_bos": scope.inspection.prepend_bos,
        "transform": signature(scope.transform),
        "mix": scope.mix,
        "match_norm": scope.match_norm,
        **({} if scope.rule is None else {"rule": repr(scope.rule)}),
    }


def as_lenses(lenses: Any) -> tuple[Lens, ...]:
    """One or several lenses, of which it can be told whether they are the same later.

    Raises:
        StudyError: none, two of one name, something else, or one without a signature.
    """
    found = lenses_of(lenses, StudyError)
    for lens in found:
        if lens.signature is None:
            raise StudyError(
                f"Of the lens {lens.name!r} it cannot be told whether it is the same later.",
                got=f"{type(lens).__name__} without a signature",
                expected="a lens of lensscope, without functions of your own in it",
                instead="ls.LogitLens(); or ls.compare, which can do without",
            )
    return tuple(found)
