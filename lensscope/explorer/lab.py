"""A model with its lenses and readers, and what was last run of it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, TypeVar, cast

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.engine.capture import capture
from lensscope.errors import PositionError, PromptError, SiteError
from lensscope.explorer.questions import Inspection, Prompt
from lensscope.lenses.lens import Lens
from lensscope.lenses.measures import FinalDistribution
from lensscope.lenses.states import asked
from lensscope.model.backend import Backend
from lensscope.model.classes import backend_of
from lensscope.model.head import unembed
from lensscope.model.tokens import tokenize
from lensscope.patchscope.controls import Words, other_states
from lensscope.patchscope.inspection import InspectionPrompt
from lensscope.patchscope.reader_names import PRESETS
from lensscope.patchscope.scope import Patchscope
from lensscope.studies.texts import control_texts
from lensscope.values.prompts import TokenizedPrompt
from lensscope.values.sites import resid_post, resid_pre

T = TypeVar("T")
RAW: Final = "raw"
"""The reader that is edited; all others were trained."""
TOKENS: Final = 512
"""Tokens of a prompt that is looked at."""
_SHORT: Final = 16 << 20
"""Bytes of a prompt's distributions that are kept with its run."""
_LAST: Final = 32
_SAID: Final = 4096
_RUNS: Final = 4
_HELD: Final = 256 << 20
"""Runs, and bytes of their states, that are kept."""


@dataclass(frozen=True, eq=False)
class Ran:
    """A prompt's run: its tokens, and all block outputs."""

    prompt: TokenizedPrompt
    states: Float[Tensor, "layer position d_model"]
    known: list[Tensor] = field(default_factory=list, repr=False)

    def log_p(self, backend: Backend, positions: slice) -> Float[Tensor, "position d_vocab"]:
        """What the model itself says next, as log-probabilities; of a short prompt, found once."""
        if len(self.prompt) * backend.d_vocab * 4 > _SHORT:
            return self._log_p(backend, positions)
        if not self.known:
            self.known.append(self._log_p(backend, slice(None)))
        return self.known[0][positions]

    def _log_p(self, backend: Backend, positions: slice) -> Float[Tensor, "position d_vocab"]:
        with torch.no_grad():
            return unembed(backend, self.states[-1, positions]).float().log_softmax(-1)

    def final(self, backend: Backend, positions: slice) -> FinalDistribution:
        """The same, as lenses are compared with it."""
        log_p = self.log_p(backend, positions)
        return FinalDistribution(log_p, torch.full((len(log_p),), -1, device=log_p.device))


@dataclass(frozen=True, eq=False)
class Others:
    """States of other texts: their mean, and that of the last token of the first of them."""

    mean: Float[Tensor, "layer d_model"]
    last: Float[Tensor, "layer d_model"]
    text: str
    number: int


@dataclass(eq=False, repr=False)
class Lab:
    """What the explorer looks at a model with.

    Attributes:
        model: the model.
        lenses: by the names that they are asked for.
        trained: trained readers, by such names.
        loading: lines of Python that give ``model``.
        lens_lines: an expression of Python for each lens.
        reader_lines: and for each trained reader.
        lock: held by whoever runs the model.
        said: what readers said of controls that are the same for many states.
    """

    model: Any
    lenses: Mapping[str, Lens]
    trained: Mapping[str, Patchscope]
    loading: Sequence[str] = ()
    lens_lines: Mapping[str, str] = field(default_factory=dict)
    reader_lines: Mapping[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    said: dict[object, Words] = field(default_factory=dict, init=False)
    _runs: OrderedDict[tuple[int, ...], Ran] = field(default_factory=OrderedDict, init=False)
    _checked: dict[str, Lens] = field(default_factory=dict, init=False)
    _last: OrderedDict[object, Any] = field(default_factory=OrderedDict, init=False)

    @cached_property
    def backend(self) -> Backend:
        return backend_of(self.model)

    def ran(self, prompt: Prompt) -> Ran:
        """A prompt's run, made once while it is looked at."""
        tokens = tokenize(self.backend, prompt)[0]
        if len(tokens) > TOKENS:
            raise PromptError(
                "The prompt is longer than the explorer shows.",
                got=f"{len(tokens)} tokens",
                expected=f"at most {TOKENS}",
                instead="the part of it that is looked at; ls.LogitLens().read takes all of it",
            )
        known = self._runs.get(tokens.ids)
        if known is None or known.prompt != tokens:
            cache = capture(self.model, tokens, resid_post)
            layers = range(self.backend.n_layers)
            device = self.backend.device  # of a model that is spread, one of them
            states = [cache[resid_post(n)][0].to(device) for n in layers]
            known = Ran(tokens, torch.stack(states))
        self._runs[tokens.ids] = known
        self._runs.move_to_end(tokens.ids)
        while len(self._runs) > 1 and (len(self._runs) > _RUNS or self._held > _HELD):
            self._runs.popitem(last=False)
        return known

    @property
    def _held(self) -> int:
        return sum(run.states.numel() * run.states.element_size() for run in self._runs.values())

    def remember(self, said: Mapping[object, Words]) -> None:
        """What was said of controls that are the same for many states; the oldest go."""
        self.said.update(said)
        while len(self.said) > _SAID:
            del self.said[next(iter(self.said))]

    def kept(self, key: object, make: Callable[[], T]) -> T:
        """What was made last for a key, so that it is not made again while it is looked at."""
        if key not in self._last:
            self._last[key] = make()
        self._last.move_to_end(key)
        while len(self._last) > _LAST:
            self._last.popitem(last=False)
        return cast(T, self._last[key])

    def state(self, prompt: Prompt, layer: int, position: int) -> Float[Tensor, " d_model"]:
        """A block's output at a token.

        Raises:
            SiteError, PositionError: there is none.
        """
        ran = self.ran(prompt)
        self.check_layer(layer)
        if position >= len(ran.prompt):
            raise PositionError(
                "The prompt has no such token.",
                got=f"token {position} of {len(ran.prompt)}",
                expected=f"0 to {len(ran.prompt) - 1}",
                instead="a cell of this prompt's grid",
            )
        return ran.states[layer, position]

    def check_layer(self, layer: int) -> None:
        """Refuse a layer that the model has not."""
        if layer >= self.backend.n_layers:
            raise SiteError(
                "The model has no such layer.",
                got=f"layer {layer}",
                expected=f"0 to {self.backend.n_layers - 1}",
                instead="a cell of the grid",
            )

    @cached_property
    def others(self) -> Others:
        """States of other texts, at all layers."""
        reads = asked(self.backend, control_texts(), slice(1, None))
        sites = self.backend.concrete(resid_post)
        found = other_states(self.backend, reads, sites)
        device = self.backend.device
        return Others(
            torch.stack([found.mean[site].to(device) for site in sites]),
            torch.stack([found.last[site].to(device) for site in sites]),
            reads[0].prompt.text,
            len(reads),
        )

    def lens(self, name: str) -> Lens:
        """A lens by its name, on the model's device, once it was found to be of this model.

        Raises:
            PromptError: there is none of this name.
            BasisError: it is of another model.
        """
        if name not in self.lenses:
            raise PromptError(
                "The explorer has no such lens.",
                got=repr(name),
                expected=", ".join(self.lenses),
                instead="lensscope explore --lens PATH adds one",
            )
        if name not in self._checked:
            lens, backend = self.lenses[name], self.backend
            sites = [s for s in backend.concrete(resid_post) if lens.knows(backend, s)]
            lens.check(backend, sites)
            self._checked[name] = lens.on(backend.device)
        return self._checked[name]

    def reader(self, name: str, inspection: Inspection) -> Patchscope:
        """A reader by its name: the one that is edited, or a trained one."""
        if name == RAW:
            return scope_of(inspection)
        if name not in self.trained:
            raise PromptError(
                "The explorer has no such reader.",
                got=repr(name),
                expected=", ".join((RAW, *self.trained)),
                instead="lensscope explore --reader PATH adds one",
            )
        return self.trained[name]


def scope_of(inspection: Inspection) -> Patchscope:
    """The patchscope that is edited: it reads block outputs, and writes them where it is told."""
    same = inspection.target == "same"
    return Patchscope(
        InspectionPrompt(inspection.text, inspection.placeholder),
        resid_post if same else resid_pre(int(inspection.target)),
        read=None if same else resid_post,
        max_new_tokens=inspection.max_new_tokens,
    )


def preset_inspections(n_layers: int) -> dict[str, Inspection]:
    """The presets, as they are edited: those that write a state as it is."""
    found = {}
    for name, make in PRESETS.items():
        if name == "selfie":  # which gives it the placeholder's length
            continue
        scope = (make(_ATTRIBUTE) if name == "attribute" else make()).settled(n_layers)
        layer = scope.write.layer
        block = None if layer is None else layer + (scope.write.kind == "resid_post")
        target: Any = "same" if block is None else min(block, n_layers - 1)
        text, placeholder = scope.inspection.text, scope.inspection.placeholder
        tokens = min(scope.max_new_tokens, _NEW)
        found[name] = Inspection(name, text, placeholder, target, tokens, 0.0, None, 0)
    return found


_ATTRIBUTE: Final = "The largest city in x"
_NEW: Final = 10
"""New tokens, unless a preset says less."""
