"""Patchscopes: let a model say in words what a hidden state holds.

Ghandeharioun et al. 2024, "Patchscopes: A Unifying Framework for Inspecting Hidden
Representations of Language Models" (ICML). A state is read at ``(source prompt, position, layer)``,
mapped by ``f``, and written at ``(target prompt, position*, layer*)`` of the target model, which
then goes on to write. The target side is the `Patchscope`; the source side is given to `inspect`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, SupportsIndex, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lensscope import checks
from lensscope.engine.capture import capture
from lensscope.engine.finite import check_states
from lensscope.engine.run_many import run_many
from lensscope.engine.runs import Runs
from lensscope.errors import (
    BasisError,
    LensError,
    LensscopeError,
    PatchError,
    PromptError,
    SiteError,
)
from lensscope.lenses.notes import notes_on, parts_of_words
from lensscope.lenses.readout import logit_lens_tokens
from lensscope.model.backend import Backend
from lensscope.model.classes import backend_of
from lensscope.model.tokens import tokenize
from lensscope.patchscope.inspection import InspectionPrompt
from lensscope.patchscope.result import PatchscopeResult, Reading
from lensscope.values.operations import Map, Resize, as_value
from lensscope.values.positions import ALL, All, PositionLike, resolve
from lensscope.values.prompts import PromptsLike, TokenizedPrompt
from lensscope.values.sites import Patch, Site, resid_post, resid_pre
from lensscope.values.transforms import BySite

if TYPE_CHECKING:
    from lensscope.patchscope.lens import PatchscopeLens

TargetLayers: TypeAlias = Literal["same", "all"] | Iterable[SupportsIndex]

ENTITY_DESCRIPTION: Final = (
    "Syria: Country in the Middle East, Leonardo DiCaprio: American actor, Samsung: South Korean "
    "multinational major appliance and consumer electronics corporation, x"
)
IDENTITY_WORDS: Final = ("cat", "1135", "hello")
_RESIDUAL: Final = ("embed", "resid_pre", "resid_mid", "resid_post")


def _inspection(value: Any, name: str, error: type[LensscopeError]) -> InspectionPrompt:
    """A check: an inspection prompt, or the text of one with placeholder ``"x"``."""
    if isinstance(value, InspectionPrompt):
        return value
    if isinstance(value, str):
        return InspectionPrompt(value)
    raise error(
        "This is not an inspection prompt.",
        got=checks.seen(value),
        expected="a text with its placeholder, or an InspectionPrompt",
        instead='ls.Patchscope("The largest city in x")',
    )


def _transform(value: Any, name: str, error: type[LensscopeError]) -> Any:
    """A check: a map, or what has one for each site."""
    return value if isinstance(value, BySite) else checks.function(value, name, error)


def _words(value: Any, name: str, error: type[LensscopeError]) -> list[str]:
    """A check: some words."""
    instead = 'words=["cat", "1135", "hello"]'
    return [checks.text(w, name, error) for w in checks.several(value, name, instead, error)]


@checks.constructor(PatchError, inspection=_inspection, transform=_transform)
@dataclass(frozen=True)
class Patchscope:
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

    def __post_init__(self) -> None:
        for name, site in (("write", self.write), ("read", self.read)):
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
        if self.read is not None and self.read.layer is not None:
            raise SiteError(
                "read= of a patchscope has a layer.",
                got=repr(self.read),
                expected="a kind without a layer",
                instead="scope.inspect(model, prompt, layers=[…])",
            )

    # ---------------------------------------------------------------- presets

    @classmethod
    @checks.door(PromptError, words=_words)
    def token_identity(cls, words: Sequence[str] = IDENTITY_WORDS, **kwargs: Any) -> Patchscope:
        """``cat -> cat``, …, ``?``: which token is this state? (section 4.1)

        Args:
            words: what stands for itself in the prompt.
            **kwargs: as of a `Patchscope`.
        """
        lines = "".join(f"{word} -> {word}\n" for word in words)
        return cls(InspectionPrompt(lines + "?", "?"), **{"max_new_tokens": 1, **kwargs})

    @classmethod
    @checks.door(PromptError)
    def entity_description(cls, **kwargs: Any) -> Patchscope:
        """Three described entities and a placeholder: what is this the name of? (section 4.3)"""
        return cls(InspectionPrompt(ENTITY_DESCRIPTION, "x"), **kwargs)

    @classmethod
    @checks.door(PromptError)
    def attribute(cls, text: str, placeholder: str = "x", **kwargs: Any) -> Patchscope:
        """An unfinished sentence: ``"The largest city in x"``. (section 4.2)"""
        return cls(InspectionPrompt(text, placeholder), **kwargs)

    @classmethod
    @checks.door(PromptError)
    def selfie(
        cls,
        text: str = "Message: _ _ _ _ _\nIn other words, the message says:",
        placeholder: str = "_",
        layer: int = 2,
        **kwargs: Any,
    ) -> Patchscope:
        """Write at several placeholders into the input of an early block, and ask for a summary.

        Chen et al. 2024, "SelfIE: Self-Interpretation of Large Language Model Embeddings". Reads
        block outputs; with ``mix`` below 1 it interpolates, with ``match_norm=True`` the state
        gets the length of the placeholder's own.
        """
        options = {"write": resid_pre(layer), "read": resid_post, "match_norm": True, **kwargs}
        return cls(InspectionPrompt(text, placeholder), **options)

    @checks.door(LensError, name=checks.text)
    def as_lens(self, *others: Patchscope, name: str | None = None) -> PatchscopeLens:
        """This patchscope as a lens, which reads the distribution of the next token.

        Args:
            *others: more of them; the distributions are averaged.
            name: what the lens is called.

        Example:
            >>> lens = ls.Patchscope.token_identity().as_lens()
            >>> reading = lens.read(model, "The Eiffel Tower is in the city of", positions=-1)
            >>> reading.data.predicted.sel(layer=25, rank=0).item()
            ' Paris'
        """
        from lensscope.patchscope.lens import PatchscopeLens

        scopes = (self, *others)
        identity = all(scope.inspection.text.endswith("\n?") for scope in scopes)
        return PatchscopeLens(scopes, name or ("token identity" if identity else "patchscope"))

    # ---------------------------------------------------------------- inspecting

    @checks.door(PatchError, position=checks.listed)
    def inspect(
        self,
        model: Any,
        source: PromptsLike | Float[Tensor, " d_model"] | Float[Tensor, "vector d_model"],
        position: PositionLike = -1,
        layers: Iterable[SupportsIndex] | None = None,
        target_layers: TargetLayers = "same",
        max_new_tokens: int | None = None,
        *,
        occurrence: int | None = None,
        prepend_bos: bool | None = None,
        memory_budget: int | None = None,
    ) -> PatchscopeResult:
        """Read states of a source prompt and let the target model describe each.

        Args:
            model: the model that the states are read from.
            source: a prompt, a list of prompts, or raw vectors ``[d_model]`` or
                ``[vector, d_model]`` (a steering vector, a difference of two readings).
            position: which tokens of the source prompt; several give one reading each.
            layers: source layers; all by default.
            target_layers: ``"same"`` as the source layer, ``"all"``, or a list; raw vectors have no
                layer of their own, so for them ``"same"`` means each of ``layers``.
            max_new_tokens: how much is written; the patchscope's own number by default.
            occurrence: which match of a substring is meant by ``position``; without it, the one
                that is a whole word, or else the only one.
            prepend_bos: for the source prompt; ``None`` follows the model's own default.
            memory_budget: bytes that it may take, results included.

        Returns:
            A `PatchscopeResult` with axes prompt, position, source_layer and, unless the target
            layer is given by the source layer, target_layer. Its ``notes`` say where the state of a
            first token without BOS was read, which in most models is an attention sink.

        Raises:
            PromptError: a placeholder that is missing or split, an empty or too long prompt.
            BasisError: the two models differ in width or basis, and no transform maps between them.
            SiteError, PositionError, PatchError, ModelError: see there.

        Example:
            >>> scope = ls.Patchscope.entity_description(max_new_tokens=5)
            >>> scope.inspect(model, "Jurassic Park", layers=[12]).frame()["text"][0]
            ': American film franchise,'
        """
        here = backend_of(model)
        target = here if self.model is None else backend_of(self.model)
        new = self.max_new_tokens if max_new_tokens is None else max_new_tokens
        if new < 1:
            raise PatchError(
                "A patchscope that writes nothing says nothing.",
                got=f"max_new_tokens={new}",
                expected="at least 1",
                instead="max_new_tokens=1 for the next token alone",
            )
        if isinstance(source, np.ndarray):
            source = torch.as_tensor(source)
        raw = isinstance(source, Tensor) and source.is_floating_point()
        if raw:
            source = as_value(source)
        if isinstance(target_layers, All):
            target_layers = "all"
        elif not isinstance(target_layers, str):
            one = isinstance(target_layers, int)
            target_layers = [target_layers] if one else list(target_layers)  # type: ignore[list-item]
        if isinstance(layers, All):
            layers = None
        layers = layers if layers is None or isinstance(layers, int | str) else list(layers)
        self._check_targets(target_layers, layers if raw else None)
        prompt, places = self.inspection.tokenized(target), self.inspection.placed(target)
        if raw:
            notes: tuple[str, ...] = ()
            readings = self._of_vectors(target, source, layers, target_layers)  # type: ignore[arg-type]
        else:
            prompts = tokenize(here, source, prepend_bos)
            where = Site("resid_post").at(position, occurrence)  # checks the two together
            place = ALL if where.position is None else where.position
            inside = [n for p in prompts for n in parts_of_words(place, p, occurrence)]
            tokens = [resolve(place, p, occurrence) for p in prompts]
            notes = notes_on(here, zip(prompts, tokens, strict=True), inside)
            readings = self._of_prompts(here, target, prompts, where, layers, target_layers)
        self._check_fit(here, target, readings)
        written = self.write.whole
        patchsets = [
            [self.patch(written(r.target_layer).at(place), r.value) for place in places]
            for r in readings
        ]
        runs = run_many(
            target,
            prompt,
            patchsets,
            positions=None,
            max_new_tokens=new,
            labels=[r.label for r in readings],
            memory_budget=memory_budget,
        )
        sources = [] if raw else [p.ids for p in prompts]
        return self._result(here, target, readings, runs, prompt, target_layers, sources, notes)

    def _of_prompts(
        self,
        here: Backend,
        target: Backend,
        prompts: list[TokenizedPrompt],
        where: Site,
        layers: Iterable[SupportsIndex] | None,
        target_layers: TargetLayers,
    ) -> list[Reading]:
        """One reading for each prompt, position, source layer and target layer."""
        read = self.read or self.write
        kind = replace(where, kind=read.kind, head=read.head)
        sources = layers_of(here, kind, layers)
        sites = [kind(layer) for layer in sources]
        cache = capture(here, prompts, sites)
        readings = []
        for n, prompt in enumerate(prompts):
            own = cache.sel(prompt=n)
            states = {layer: own[site][0] for layer, site in zip(sources, sites, strict=True)}
            check_states(here, kind.kind, states)
            tokens = resolve(
                ALL if where.position is None else where.position, prompt, where.occurrence
            )
            for j, token in enumerate(tokens):
                for layer in sources:
                    state = states[layer][j]
                    value = self.mapped(state, target, kind.whole(layer))
                    for to in self._targets(target, layer, target_layers):
                        readings.append(
                            Reading(
                                prompt=n,
                                text=prompt.text,
                                slot=j,
                                position=token,
                                token=prompt.labels[token],
                                source_layer=layer,
                                target_layer=to,
                                state=state,
                                value=value,
                            )
                        )
        return readings

    def _of_vectors(
        self,
        target: Backend,
        vectors: Tensor,
        layers: Iterable[SupportsIndex] | None,
        target_layers: TargetLayers,
    ) -> list[Reading]:
        """One reading for each vector and target layer."""
        rows = vectors[None] if vectors.ndim == 1 else vectors
        if rows.ndim != 2:
            raise PatchError(
                "Raw vectors have the wrong number of axes.",
                got=tuple(vectors.shape),
                expected="[d_model] or [vector, d_model]",
                instead="cache[site][0, -1]",
            )
        mapped = [self.mapped(row, target, None) for row in rows]
        if self.write.layer is not None:
            targets = layers_of(target, self.write.whole, [self.write.layer])
        elif isinstance(target_layers, str):
            targets = layers_of(target, self.write.whole, layers)
        else:
            targets = layers_of(target, self.write.whole, target_layers)
        return [
            Reading(n, f"vector {n}", 0, None, "", None, to, row, value)
            for n, (row, value) in enumerate(zip(rows, mapped, strict=True))
            for to in targets
        ]

    def _targets(self, target: Backend, layer: int, target_layers: TargetLayers) -> list[int]:
        kind = self.write.whole
        if self.write.layer is not None:
            return layers_of(target, kind, [self.write.layer])
        if target_layers == "same":
            return layers_of(target, kind, [layer])
        if isinstance(target_layers, str):
            return layers_of(target, kind, None)
        return layers_of(target, kind, target_layers)

    def _check_targets(
        self, target_layers: TargetLayers, vector_layers: Iterable[SupportsIndex] | None
    ) -> None:
        """Refuse choices of layers that nobody could follow."""
        if isinstance(target_layers, str) and target_layers not in ("same", "all"):
            raise SiteError(
                "There is no such choice of target layers.",
                got=repr(target_layers),
                expected='"same", "all" or a list of layers',
                instead="target_layers=[3, 5]",
            )
        if self.write.layer is not None and target_layers != "same":
            raise SiteError(
                "This patchscope always writes at one layer.",
                got=f"target_layers={target_layers!r}, and write={self.write!r}",
                expected="no target layers, or write= without a layer",
                instead=f"dataclasses.replace(scope, write=ls.{self.write.kind})",
            )
        if vector_layers is not None and target_layers != "same":
            raise SiteError(
                "Raw vectors come from no layer.",
                got=f"layers={list(vector_layers)}, target_layers={target_layers!r}",
                expected="one of the two",
                instead="target_layers=[3, 5]",
            )

    def mapped(self, state: Tensor, target: Backend, site: Site | None) -> Tensor:
        """What is written of a state read at a site: transformed, on the target's device."""
        transform = self.transform
        if isinstance(transform, BySite):
            if site is None:
                raise PatchError(
                    "Raw vectors come from no site, so there is no map for them.",
                    got=repr(transform),
                    expected="a map for all vectors",
                    instead="transform=lens.at(ls.resid_post(12))",
                )
            transform = transform.at(site)
        value = state
        if transform is not None:
            value = checks.called(transform, "The transform", PatchError, state.clone())
            value = as_value(value)
        return value if self.model is None else value.to(target.device, target.dtype)

    def _check_fit(self, here: Backend, target: Backend, readings: list[Reading]) -> None:
        """Whether what is written fits the target model."""
        width = readings[0].value.shape[-1]
        self.check_width(here, target, width, readings[0].state.shape[-1])
        if readings[0].source_layer is not None:
            self.check_models(here, target)

    def check_width(self, here: Backend, target: Backend, width: int, read: int) -> None:
        """Refuse what is too wide or too narrow for where it is written.

        Raises:
            BasisError: with the widths.
        """
        expected = target.shape(Site(self.write.kind, 0), 1, 1)[-1]
        if width != expected:
            raise BasisError(
                "What is read does not fit where it is written.",
                got=f"width {width} from {here.name}",
                expected=f"width {expected} of {self.write.kind} in {target.name}",
                instead="Patchscope(…, transform=ls.affine(A, b)) with A of shape "
                f"[{expected}, {read}]",
            )

    def check_models(self, here: Backend, target: Backend) -> None:
        """Refuse to go from one model to another without a map, or by one of other models.

        Raises:
            BasisError: two bases, or a map that was fitted on other models.
        """
        if isinstance(self.transform, BySite):
            self.transform.check_maps(here, target)
        elif (
            self.transform is None
            and target.model is not here.model
            and here.processing != target.processing
        ):
            raise BasisError(
                "The two models are in different bases.",
                got=f"{here.processing} weights in {here.name}",
                expected=f"{target.processing} weights, as in {target.name}",
                instead="load both with the same processing=, or give a transform",
            )

    def patch(self, site: Site, value: Tensor) -> Patch:
        """The write of a value at a place."""
        site = replace(site, head=self.write.head)
        if self.match_norm:
            return Patch(site, Resize(as_value(value), self.mix))
        return site.set(value) if self.mix == 1 else site.lerp(value, self.mix)

    def _result(
        self,
        here: Backend,
        target: Backend,
        readings: list[Reading],
        runs: Runs,
        prompt: TokenizedPrompt,
        target_layers: TargetLayers,
        sources: list[tuple[int, ...]],
        notes: tuple[str, ...],
    ) -> PatchscopeResult:
        generation = runs.generation
        assert generation is not None
        probabilities = generation.first_logits.float().softmax(-1)
        firsts = [row[0] for row in generation.token_ids]
        said = [
            replace(
                reading,
                text_out=generation.texts[n],
                first_token=generation.labels[n][0],
                first_token_probability=float(probabilities[n, firsts[n]]),
            )
            for n, reading in enumerate(readings)
        ]
        kind = (self.read or self.write).kind
        readable = kind in _RESIDUAL and readings[0].state.shape[-1] == here.d_model
        lens = {}
        if readable:
            states = {(r.prompt, r.slot, r.source_layer): r.state for r in readings}
            found = logit_lens_tokens(here, torch.stack(list(states.values())))
            lens = dict(zip(states, found, strict=True))
        grid = readings[0].source_layer is not None and (
            self.write.layer is None and target_layers != "same"
        )
        return PatchscopeResult.of(
            said,
            lens,
            grid=grid,
            inspection=self.inspection.text,
            placeholder=self.inspection.placeholder,
            inspection_tokens=prompt.labels,
            plan=str(runs.plan),
            source=here.provenance(sources),
            target=target.provenance([prompt.ids]),
            notes=notes,
        )


def layers_of(backend: Backend, kind: Site, layers: Iterable[SupportsIndex] | None) -> list[int]:
    """Layers in range and not negative, in the order asked for, each once."""
    if layers is not None and (isinstance(layers, int | str) or not list(layers)):
        raise SiteError(
            "These are not layers.",
            got=repr(layers),
            expected="a list of layers, at least one",
            instead="layers=[3, 5]",
        )
    sites = [kind] if layers is None else [kind(layer) for layer in layers]
    found = [site.layer for s in sites for site in backend.concrete(s)]
    return list(dict.fromkeys(layer for layer in found if layer is not None))
