"""What a model says after a value was written into an inspection prompt, or where a name stood in
it as text: only the placeholder and what follows it is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.engine.join_trial import joins
from lensscope.errors import PromptError
from lensscope.model.backend import Backend
from lensscope.model.head import unembed
from lensscope.model.key_values import KeyValues
from lensscope.model.token_texts import labels_of
from lensscope.model.tokens import eos_ids, tokenize
from lensscope.patchscope.inspection import InspectionPrompt
from lensscope.patchscope.writing import Writer
from lensscope.progress import progress
from lensscope.values.sites import Site, resid_post

Ids = tuple[int, ...]
_ROWS: Final = 128
_JOINED: Final = {"resid_pre": 0, "resid_post": 1}
"""How many blocks above its own each kind comes into."""


@dataclass(frozen=True, eq=False)
class Said:
    """A text that a model wrote, and the states that it wrote it from.

    Attributes:
        ids: its tokens.
        last: the last residual that each token comes from, ``[token, d_model]``.
    """

    ids: Ids
    last: Float[Tensor, "token d_model"]


@dataclass(frozen=True, eq=False)
class Speech:
    """The target side of a patchscope, run many times over.

    Attributes:
        backend: the model.
        scope: the patchscope.
    """

    backend: Backend
    scope: Writer

    @cached_property
    def inspection(self) -> InspectionPrompt:
        """The prompt with what it says of itself filled in."""
        return self.scope.inspection.of_layer(None)

    @cached_property
    def _ids(self) -> Ids:
        return self.inspection.tokenized(self.backend).ids

    @cached_property
    def _places(self) -> tuple[int, ...]:
        return self.inspection.placed(self.backend)

    def _site(self, layer: int | None) -> Site:
        """Where states of a layer are written: always at one, or each at its own."""
        write = self.scope.write
        own = None if layer is None else max(layer, self.scope.earliest)
        (site,) = self.backend.concrete(write(own) if write.layer is None else write)
        return site

    @cached_property
    def _shares(self) -> bool:
        """Whether what comes before the placeholder is run once."""
        longest = len(self._ids) + 512
        return self._places[0] > 0 and not self.backend.why_no_steps(longest)

    def _before(self, ids: Ids) -> tuple[Ids, KeyValues | None]:
        """What all prompts that begin like this share, and its keys and values."""
        if not ids or not self._shares:
            return (), None
        if ids not in self._held:
            key_values = self.backend.new_key_values(1)
            with torch.no_grad():
                self.backend.run(self._tokens([ids]), key_values=key_values)
            self._held[ids] = key_values
        return ids, self._held[ids]

    @cached_property
    def _held(self) -> dict[Ids, KeyValues]:
        return {}

    def _tokens(self, rows: Sequence[Ids]) -> Tensor:
        return torch.tensor(rows, device=self.backend.device)

    # ---------------------------------------------------------------- written

    def logits(
        self, values: Float[Tensor, "row d"], said: Sequence[Ids], layer: int | None = None
    ) -> Float[Tensor, "token d_vocab"]:
        """The logits that come before each token of what is said, once values are written.

        Args:
            values: one a row, written at every placeholder.
            said: the tokens that follow the prompt in each row, at least one; the rows' tokens come
                one after another.
            layer: what the values are of, for a patchscope that writes each at its own layer.
        """
        first = self._places[0]
        shared, held = self._before(self._ids[:first])
        own = self._ids[len(shared) :]
        width = max(map(len, said))
        rows = [(*own, *ids[:-1], *([0] * (width - len(ids)))) for ids in said]
        at = [place - len(shared) for place in self._places]
        operation = self.scope.patch(self.scope.write.whole.at(0), values[:, None]).operation
        key_values = None if held is None else held.first(len(shared))
        site = self._site(layer)
        # until there, all rows are the same one
        joining = width == len(own) == 1 and site.kind in _JOINED and joins(self.backend).holds
        if key_values is not None:
            if joining:
                key_values.grow(keep=False)
            else:
                key_values.repeat(len(rows))

        def write(state: Tensor) -> Tensor:
            written = operation(state[:, at]).to(state.dtype)
            out = state.clone()
            out[:, at] = written
            return out

        def enter(block: int, hidden: Tensor) -> Tensor:
            if block != (site.layer or 0) + _JOINED[site.kind]:
                return hidden
            return write(hidden.expand(len(rows), *hidden.shape[1:]))

        lengths = torch.tensor([len(ids) for ids in said], device=values.device)
        counted = torch.arange(width, device=values.device) < lengths[:, None]

        def pick(last: Tensor) -> Tensor:
            return last[:, len(own) - 1 :][counted][None]

        run = partial(self.backend.run, key_values=key_values, pick=pick)
        if joining:
            found = run(self._tokens(rows[:1]), enter=enter)
        else:
            with self.backend.attached({self.backend.hook_point(site): [write]}):
                found = run(self._tokens(rows))
        assert found is not None
        return found[0]

    # ---------------------------------------------------------------- as text

    def named(self, names: Sequence[str], max_tokens: int, stop: Sequence[str]) -> list[Said]:
        """What the model itself says where each name stands in the prompt as text.

        Args:
            names: the names.
            max_tokens: the longest text.
            stop: a text ends with the token that has one of these in it.

        Raises:
            PromptError: a name that makes no prompt.
        """
        prompts = [tokenize(self.backend, self.inspection.filled(n), self._bos)[0] for n in names]
        alike: dict[tuple[Ids, int], list[int]] = {}
        for n, prompt in enumerate(prompts):
            shared = _common(self._ids[: self._places[0]], prompt.ids)
            alike.setdefault((shared, len(prompt)), []).append(n)
        found: dict[int, Said] = {}
        with progress(len(names), "what the model says of them", "name") as bar:
            for (shared, _), every in alike.items():
                for first in range(0, len(every), _ROWS):
                    some = every[first : first + _ROWS]
                    rows = [prompts[n].ids for n in some]
                    said = self._written(shared, rows, max_tokens, stop)
                    found |= dict(zip(some, said, strict=True))
                    bar.update(len(some))
        return [found[n] for n in range(len(names))]

    @property
    def _bos(self) -> bool | None:
        return self.inspection.prepend_bos

    def _written(
        self, shared: Ids, rows: Sequence[Ids], max_tokens: int, stop: Sequence[str]
    ) -> list[Said]:
        """The most probable texts after prompts of one length."""
        shared, held = self._before(shared)
        key_values = self.backend.new_key_values(len(rows)) if self._shares else None
        if held is not None:
            key_values = held.first(len(shared))
            key_values.repeat(len(rows))
        tokens = self._tokens([ids[len(shared) :] for ids in rows])
        new: list[list[int]] = [[] for _ in rows]
        states: list[list[Tensor]] = [[] for _ in rows]
        left = list(range(len(rows)))
        last: list[Tensor] = []

        def take(residual: Tensor) -> None:
            last.append(residual[:, -1])

        point = self.backend.hook_point(resid_post(self.backend.n_layers - 1))
        with torch.no_grad(), self.backend.attached({point: [take]}):
            for _ in range(max_tokens):
                logits = self.backend.run(tokens, key_values=key_values, pick=lambda x: x[:, -1:])
                assert logits is not None
                found = logits[:, -1].argmax(-1)
                for row, token, state in zip(left, found.tolist(), last.pop(), strict=True):
                    new[row].append(token)
                    states[row].append(state)
                going = [i for i, row in enumerate(left) if not self._ends(new[row][-1], stop)]
                if not going:
                    break
                after = found[going][:, None]
                if key_values is not None and len(going) < len(left):
                    key_values.select(going)
                tokens = after if key_values is not None else torch.cat([tokens[going], after], 1)
                left = [left[i] for i in going]
        return [Said(tuple(i), torch.stack(s)) for i, s in zip(new, states, strict=True)]

    @cached_property
    def _eos(self) -> frozenset[int]:
        return eos_ids(self.backend)

    def _ends(self, token: int, stop: Sequence[str]) -> bool:
        """Whether a text ends with this token."""
        (label,) = labels_of(self.backend, [token])
        return token in self._eos or any(text in label for text in stop)

    def log_p(self, last: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_vocab"]:
        """What the model says where it wrote a text, from the states that it wrote it from."""
        with torch.no_grad():
            return unembed(self.backend, last).float().log_softmax(-1)


def _common(first: Ids, second: Ids) -> Ids:
    """The tokens with which both begin."""
    n = 0
    while n < min(len(first), len(second) - 1) and first[n] == second[n]:
        n += 1
    return first[:n]


def as_names(names: Any) -> list[str]:
    """Names to train on, each once and none empty.

    Raises:
        PromptError: no names, an empty one, or one twice.
    """
    held = [names] if isinstance(names, str) else list(names)
    wrong = [name for name in held if not isinstance(name, str) or not name.strip()]
    seen: set[str] = set()
    twice = [] if wrong else [name for name in held if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
    if wrong or twice or not held:
        raise PromptError(
            "These are not names to train on.",
            got=f"{(wrong or twice or ['none'])[0]!r}" + " twice" * bool(twice),
            expected="texts that are not empty, each once",
            instead="list(dict.fromkeys(name for name in names if name.strip()))",
        )
    return held
