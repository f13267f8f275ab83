"""Patchscopes: let a model say in words what a hidden state holds.

Ghandeharioun et al. 2024, "Patchscopes: A Unifying Framework for Inspecting Hidden
Representations of Language Models" (ICML). A state is read at ``(source prompt, position, layer)``,
mapped by ``f``, and written at ``(target prompt, position*, layer*)`` of the target model, which
then goes on to write. The target side is the `Patchscope`; the source side is given to `inspect`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from torch import Tensor

from lensscope import checks
from lensscope.engine.capture import SitesLike
from lensscope.engine.rows import PatchLike
from lensscope.errors import LensError, LensscopeError, PatchError, SiteError
from lensscope.model.adapters import Adapter
from lensscope.model.classes import backend_of
from lensscope.patchscope.inspecting import inspected
from lensscope.patchscope.inspection import InspectionPrompt, an_inspection
from lensscope.patchscope.layers import LayersLike, TargetLayers, read_at
from lensscope.patchscope.lens import PatchscopeLens
from lensscope.patchscope.presets import Presets
from lensscope.patchscope.reader import Reader
from lensscope.patchscope.result import PatchscopeResult
from lensscope.patchscope.trained import Trained
from lensscope.signs import cut
from lensscope.values.operations import Map, Resize, as_value
from lensscope.values.positions import ALL, PositionsLike
from lensscope.values.prompts import PromptsLike
from lensscope.values.rules import Rule, as_rule
from lensscope.values.sites import Patch, Site, as_site, resid_post
from lensscope.values.transforms import BySite
from lensscope.values.vectors import VectorsLike


def _transform(value: Any, name: str, error: type[LensscopeError]) -> Any:
    """A check: a map, or what has one for each site."""
    return value if isinstance(value, BySite) else checks.function(value, name, error)


@checks.constructor(
    PatchError,
    inspection=an_inspection,
    transform=_transform,
    rule=checks.optional(as_rule),
    adapter=checks.optional(checks.instance("Adapter", "ls.Patchscope.load(folder, model)")),
    trained=checks.optional(checks.instance("Trained", "ls.Patchscope.load(folder, model)")),
    target_layer=checks.optional(checks.whole(0, instead=1)),
    earliest=checks.whole(0, instead=20),
)
@dataclass(frozen=True)
class Patchscope(Presets, Reader):
    """Where and how a state is written, and what is decoded.

    Attributes:
        inspection: the target prompt; a plain string is an `InspectionPrompt` with placeholder
            ``"x"``.
        write: the kind of site that is written; with a layer, always that layer.
        transform: the map ``f`` from what is read to what is written; one with ``at(site)``, such
            as a fitted `AffineLens`, maps each site in its own way.
        model: the target model; the source model by default.
        max_new_tokens: how much is written.
        read: the kind of site that is read; the kind that is written by default.
        mix: 1 replaces the placeholder's state, below 1 interpolates towards what is written.
        match_norm: give what is written the length of the state that it replaces.
        rule: how it is written, one of `lensscope.rules`, in place of ``mix`` and ``match_norm``.
        adapter: what is added to the target model while it speaks, and only then; see `load`.
        trained: what is known of how it was trained, of a reader that was.
        target_layer: where `inspect` writes unless its ``target_layers`` says otherwise; the last
            layer, of a model that has not so many. ``None`` for the layer that is read.
        earliest: where each state is written at the layer that it was read at: states of earlier
            layers are written at this one. A late block has less to undo, so that a trained map
            says more there about what comes next.

    Example:
        >>> scope = ls.Patchscope.attribute("The largest city in x", max_new_tokens=4)
        >>> result = scope.inspect(model, "a flight to Japan", layers=[6], target_layers=[3])
        >>> result.frame()["text"][0]
        ', Tokyo, with'
    """

    inspection: InspectionPrompt
    write: Site = resid_post
    transform: Map | BySite | None = None
    model: Any = None
    max_new_tokens: int = 20
    read: Site | None = None
    mix: float = 1.0
    match_norm: bool = False
    rule: Rule | None = None
    adapter: Adapter | None = None
    trained: Trained | None = None
    target_layer: int | None = None
    earliest: int = 0

    def __repr__(self) -> str:
        inspection = self.inspection
        text = inspection.text
        told = [repr(cut(text, 80) if isinstance(text, str) else text)]
        told += [] if inspection.placeholder == "x" else [f"placeholder={inspection.placeholder!r}"]
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            if value is not field.default:
                shown = backend_of(value).name if field.name == "model" else repr(value)
                told.append(f"{field.name}={shown}")
        return f"Patchscope({', '.join(told)})"

    def __post_init__(self) -> None:
        if self.rule is not None and (self.mix != 1 or self.match_norm):
            raise PatchError(
                "A patchscope writes by one rule.",
                got=f"rule={self.rule!r}, mix={self.mix}, match_norm={self.match_norm}",
                expected="rule=, or mix= and match_norm=",
                instead="rule=ls.rules.replace(length='own') for match_norm=True, "
                "ls.rules.interpolate(0.5) for mix=0.5",
            )
        for name in ("write", "read"):
            site = as_site(getattr(self, name))
            object.__setattr__(self, name, site)
            if site is not None and not (
                isinstance(site, Site)
                and site.position is None
                and site.kind not in ("embed", "pattern")
            ):
                raise SiteError(
                    f"{name}= of a patchscope is not a kind of site.",
                    got=repr(site),
                    expected="a kind of vector with layers, or one with its layer; the placeholder "
                    "says the position",
                    instead="write=ls.resid_post or write=ls.resid_pre(2)",
                )
        said = {
            f"write={self.write!r}": self.write.layer is not None,
            f"target_layer={self.target_layer}": self.target_layer is not None,
            f"earliest={self.earliest}": self.earliest > 0,
        }
        if sum(said.values()) > 1:
            raise PatchError(
                "A patchscope always writes at one layer, at one unless told otherwise, or at none "
                "before one.",
                got=", ".join(words for words, given in said.items() if given),
                expected="a layer in one of these",
                instead=f"write=ls.{self.write.kind}, "
                + (f"earliest={self.earliest}" if self.earliest else "target_layer=1"),
            )
        if self.read is not None and self.read.layer is not None:
            raise SiteError(
                "read= of a patchscope has a layer.",
                got=repr(self.read),
                expected="a kind without a layer",
                instead=f"scope.inspect(model, prompt, sites=ls.{self.read!r}), without read=",
            )

    def settled(self, n_layers: int) -> Patchscope:
        """The same, where the layer that it writes at unless told otherwise is one that it always
        writes at, and the earliest is one that the model has.

        Args:
            n_layers: of the target model.

        Example:
            >>> ls.Patchscope.entity_description().settled(30).write
            resid_post(1)
        """
        last = n_layers - 1
        if self.target_layer is not None:
            layer = min(self.target_layer, last)
            return replace(self, write=self.write(layer), target_layer=None)
        return replace(self, earliest=last) if self.earliest > last else self

    @checks.door(LensError, name=checks.text, temperature=checks.real(1e-3, instead=0.7))
    def as_lens(
        self, *others: Patchscope, name: str | None = None, temperature: float = 1.0
    ) -> PatchscopeLens:
        """This patchscope as a lens, which reads the distribution of the next token.

        Each state is written at its own layer, or at ``earliest``, unless ``write`` has a layer:
        what comes next is read best there, whatever ``target_layer`` says to `inspect`.

        Args:
            *others: more of them; the distributions are averaged.
            name: what the lens is called.
            temperature: what logits are divided by: below 1 the answers are surer, above 1 less.

        Example:
            >>> lens = ls.Patchscope.token_identity().as_lens()
            >>> reading = lens.read(model, "The Eiffel Tower is in the city of", positions=-1)
            >>> reading.data.predicted.sel(layer=25, rank=0).item()
            ' Paris'
        """
        scopes = (self, *others)
        identity = all(str(scope.inspection.text).endswith("\n?") for scope in scopes)
        name = name or ("token identity" if identity else "patchscope")
        return PatchscopeLens(scopes, name, temperature)

    # ---------------------------------------------------------------- inspecting

    @checks.door(PatchError, position=checks.listed)
    def inspect(
        self,
        model: Any,
        source: PromptsLike | VectorsLike,
        position: PositionsLike = -1,
        layers: LayersLike = None,
        target_layers: TargetLayers = "own",
        max_new_tokens: int | None = None,
        *,
        sites: SitesLike | None = None,
        patches: Sequence[PatchLike] = (),
        names: Sequence[str] | str | None = None,
        occurrence: int | None = None,
        prepend_bos: bool | None = None,
        memory_budget: int | None = None,
        together: bool = False,
        temperature: float = 0.0,
        top_p: float | None = None,
        seed: int | None = None,
        samples: int = 1,
        stop: str | Sequence[str] = (),
    ) -> PatchscopeResult:
        """Read states of a source prompt and let the target model describe each.

        Args:
            model: the model that the states are read from.
            source: a prompt, a list of prompts, or raw vectors (a steering vector, a difference of
                two readings): ``[d_model]``, ``[vector, d_model]``, or a dict of them by name.
            position: which tokens of the source prompt; a list gives one reading each, and a list
                of lists, ``[["Diana"], ["Paris", -1]]``, has one for each prompt.
            layers: source layers, by number, as a list or a slice; by default all, or those that a
                reader was trained on.
            target_layers: ``"own"``, where the patchscope itself writes: at its ``target_layer``,
                or where it reads; ``"same"`` as the source layer, as in the article; ``"all"``; or
                such layers. Raw vectors have no layer of their own: for them ``"same"`` means each
                of ``layers``, and so does ``"own"`` where ``layers`` is given.
            max_new_tokens: how much is written; the patchscope's own number by default.
            sites: what is read, in place of ``layers`` and of the kind that the patchscope reads:
                ``ls.mlp_out(3)``.
            patches: what is written in the run of the source prompt, of each prompt alike: which
                component makes this state say what it says? The result's ``notes`` name them.
            names: what raw vectors are called.
            occurrence: which match of a substring is meant by ``position``; without it, the one
                that is a whole word, or else the only one.
            prepend_bos: for the source prompt; ``None`` follows the model's own default.
            memory_budget: bytes that it may take, results included.
            together: write all that is read of a prompt at a layer at once, each state over a
                placeholder of its own; a prompt with one placeholder has it repeated.
            temperature: 0 is greedy; above, words are drawn, which needs a ``seed``.
            top_p: draw among the fewest tokens that together have this probability.
            seed: of the draws.
            samples: so many texts of each state, with seeds ``seed``, ``seed + 1``, …
            stop: a text, or several, at which a text ends, without it.

        Returns:
            A `PatchscopeResult` with axes prompt, position, source_layer and, unless the target
            layer is given by the source layer, target_layer; of several samples, sample. Its
            ``notes`` say where the state of a first token without BOS was read, which in most
            models is an attention sink.

        Raises:
            PromptError: a placeholder that is missing or split, an empty or too long prompt.
            BasisError: the two models differ in width or basis, and no transform maps between them.
            SiteError, PositionError, PatchError, ModelError: see there.

        Example:
            >>> scope = ls.Patchscope.entity_description(max_new_tokens=5)
            >>> result = scope.inspect(model, "Jurassic Park", layers=[12], target_layers="same")
            >>> result.frame()["text"][0]
            ': American film franchise,'
        """
        scope = self
        if sites is not None:
            read, layers = read_at(backend_of(model), sites, layers)
            scope, layers = replace(self, read=read), ALL if layers is None else layers
        return inspected(
            scope,
            model,
            source,
            position,
            layers,
            target_layers,
            self.max_new_tokens if max_new_tokens is None else max_new_tokens,
            patches=patches,
            names=names,
            occurrence=occurrence,
            prepend_bos=prepend_bos,
            memory_budget=memory_budget,
            together=together,
            samples=samples,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
            stop=stop,
        )

    def patch(self, site: Site, value: Tensor) -> Patch:
        """The write of a value at a place."""
        site = replace(site, head=self.write.head)
        if self.rule is not None:
            return site.write(value, self.rule)
        if self.match_norm:
            return Patch(site, Resize(as_value(value), self.mix))
        return site.set(value) if self.mix == 1 else site.lerp(value, self.mix)
