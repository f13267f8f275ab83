"""What came out of a run: logits, a cache, tokens and text."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from lensscope import checks
from lensscope.engine.planning import PlanReport
from lensscope.engine.runs_together import joined_fields
from lensscope.errors import PatchError
from lensscope.show.showing import Tabled
from lensscope.signs import cut, without_control
from lensscope.store.lasting import Lasting
from lensscope.values.cache import Cache
from lensscope.values.entries import Entry, Held
from lensscope.values.positions import FORMS
from lensscope.values.prompts import TokenizedPrompt
from lensscope.values.provenance import Provenance
from lensscope.values.sites import Site
from lensscope.values.together import of_one_kind

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from typing_extensions import Self

_OF_CACHES: Final = (Cache, Entry, Held, TokenizedPrompt, Provenance, Site, *FORMS)


@dataclass(frozen=True, eq=False)
class Run(Lasting):
    """One forward over one or several prompts.

    Attributes:
        logits: ``[prompt, position, d_vocab]``, index ``i`` for token ``i`` of the unpadded prompt;
            NaN beyond the end of a shorter prompt.
        cache: the sites that were asked for.
        prompts: what was run, token by token.
        provenance: of the model.

    Example:
        >>> run = ls.run(model, "The Eiffel Tower is in", keep=ls.resid_post(9))
        >>> run.last_logits.shape, list(run.cache)
        (torch.Size([1, 49152]), [resid_post(9)])
    """

    made_of: ClassVar = _OF_CACHES

    logits: Float[Tensor, "prompt position d_vocab"]
    cache: Cache
    prompts: tuple[TokenizedPrompt, ...]
    provenance: Provenance

    @property
    def tokens(self) -> tuple[tuple[str, ...], ...]:
        """The tokens of each prompt, as text, BOS included where it was run."""
        return tuple(prompt.labels for prompt in self.prompts)

    @property
    def last_logits(self) -> Float[Tensor, "prompt d_vocab"]:
        """Logits at the last token of each prompt."""
        return torch.stack(
            [row[len(p) - 1] for row, p in zip(self.logits, self.prompts, strict=True)]
        )

    def __repr__(self) -> str:
        return f"Run({_shown(self.prompts)}; logits {tuple(self.logits.shape)}; {self.cache!r})"


@dataclass(frozen=True, eq=False)
class Generation(Lasting):
    """What a model went on to write, without the prompt.

    Attributes:
        token_ids: new tokens of each row, the one that ended the text included.
        texts: the same as text, without special tokens.
        labels: each new token as text.
        first_logits: ``[row, d_vocab]``: logits of the first new token.
        prompts: what was run.
        provenance: of the model.
        cache: the sites that were asked for, at the tokens of the prompts and the new ones.

    Example:
        >>> said = ls.generate(model, "The capital of Japan is the city of", max_new_tokens=2)
        >>> said.text, said.labels
        (' Tokyo.', ((' Tokyo', '.'),))
    """

    made_of: ClassVar = _OF_CACHES

    token_ids: tuple[tuple[int, ...], ...]
    texts: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    first_logits: Float[Tensor, "row d_vocab"]
    prompts: tuple[TokenizedPrompt, ...]
    provenance: Provenance
    single: bool = False
    cache: Cache | None = None

    @property
    def text(self) -> Any:
        """The new text: a string for one prompt, a list of strings for a list of prompts."""
        return self.texts[0] if self.single else list(self.texts)

    @property
    def tokens(self) -> Any:
        """The new token ids: a list for one prompt, a list of lists for a list of prompts."""
        rows = [list(row) for row in self.token_ids]
        return rows[0] if self.single else rows

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        more = f"\n… {len(self) - _TOLD} more" if len(self) > _TOLD else ""
        return self._told(_TOLD) + more

    def __str__(self) -> str:
        return self._told(len(self))

    def _told(self, rows: int) -> str:
        """What was written in the first rows."""
        pairs = zip(self.prompts[:rows], self.texts[:rows], strict=True)
        return "\n".join(f"{_shown([prompt])} -> {text!r}" for prompt, text in pairs)


@dataclass(frozen=True, eq=False)
class Runs(Tabled, Lasting):
    """Many patched runs of one prompt, in the order the patch lists were given.

    Attributes:
        axes: what the rows are labelled by: axes by name with their coordinates, of which the rows
            are the product, the last axis running fastest.
        positions: the tokens of each row whose logits were asked for.
        logits: ``[row, position, d_vocab]`` at those; ``None`` if none were asked for, or if a
            metric or the top k is kept instead.
        metric: ``[row, …]``, what the metric gave.
        top_tokens: ``[row, position, rank]``, the most probable tokens; -1 where a row has fewer
            positions.
        top_log_probabilities: the same, their log probabilities (nats).
        cache: the sites asked for; its prompts are the rows.
        generation: new tokens, if any were asked for.
        plan: what was done, in words (``print(out.plan)``) and numbers.
        provenance: of the model.

    Example:
        >>> silent = [[ls.mlp_out(layer).at("Tower").zero()] for layer in (3, 9)]
        >>> out = ls.run_many(model, "The Eiffel Tower is in", silent, top_k=1, labels=["3", "9"])
        >>> out.frame()["row"].tolist()
        ['3', '9']
    """

    made_of: ClassVar = (*_OF_CACHES, Generation, PlanReport)

    axes: Mapping[str, tuple[Any, ...]]
    positions: tuple[tuple[int, ...], ...]
    logits: Float[Tensor, "row position d_vocab"] | None
    metric: Shaped[Tensor, "row *axes"] | None
    top_tokens: Int[Tensor, "row position rank"] | None
    top_log_probabilities: Float[Tensor, "row position rank"] | None
    cache: Cache
    generation: Generation | None
    plan: PlanReport
    provenance: Provenance

    def __len__(self) -> int:
        return len(self.positions)

    @classmethod
    @checks.door(PatchError)
    def together(cls, results: Sequence[Self]) -> Self:
        """One result of several, their rows one after another along the first axis.

        Raises:
            PatchError: other axes, something that only some of them keep, or kept states.
            BasisError: other models.

        Example:
            >>> place, prompt = ls.resid_pre.at("Tower"), "The Eiffel Tower is in"
            >>> early = ls.run_many(model, prompt, [[place(3).zero()], [place(9).zero()]])
            >>> late = ls.run_many(model, prompt, [[place(12).zero()]])
            >>> ls.Runs.together([early, late]).axes
            {'row': (0, 1, 2)}
        """
        return cls(**joined_fields(of_one_kind(results, cls, PatchError)))

    @property
    def labels(self) -> tuple[Any, ...]:
        """One label for each row: a coordinate, or one of each axis."""
        if len(self.axes) == 1:
            return next(iter(self.axes.values()))
        return tuple(itertools.product(*self.axes.values()))

    @property
    def data(self) -> xr.Dataset:
        """What was kept of the logits, and the new texts, with the rows' axes by name.

        ``logits_at`` is the axis of the tokens whose logits were asked for.

        Example:
            >>> place = ls.resid_pre.at("Tower")
            >>> sets = [[place(n).scale(s)] for n in (3, 9) for s in (0.0, 2.0)]
            >>> out = ls.run_many(model, "The Eiffel Tower is in", sets, top_k=1,
            ...     labels={"layer": (3, 9), "factor": (0.0, 2.0)})
            >>> out.data.sel(layer=9).top_log_probabilities.sizes
            Frozen({'factor': 2, 'logits_at': 1, 'rank': 1})
        """
        import xarray as xr

        sizes = tuple(len(names) for names in self.axes.values())
        named: dict[str, tuple[Tensor | None, tuple[str, ...]]] = {
            "logits": (self.logits, ("logits_at", "d_vocab")),
            "top_tokens": (self.top_tokens, ("logits_at", "rank")),
            "top_log_probabilities": (self.top_log_probabilities, ("logits_at", "rank")),
        }
        if self.metric is not None:
            rest = tuple(f"metric_{n}" for n in range(self.metric.ndim - 1))
            named["metric"] = (self.metric, rest)
        variables: dict[str, Any] = {}
        for name, (tensor, dims) in named.items():
            if tensor is not None:
                array = tensor.detach().float() if tensor.is_floating_point() else tensor
                shaped = array.cpu().numpy().reshape(*sizes, *array.shape[1:])
                variables[name] = ((*self.axes, *dims), shaped)
        if self.generation is not None:
            texts = np.array(self.generation.texts, dtype=object).reshape(sizes)
            variables["text"] = (tuple(self.axes), texts)
        coords: dict[str, Any] = {axis: (axis, _objects(self.axes[axis])) for axis in self.axes}
        if len(set(self.positions)) == 1 and self.positions[0] and variables.keys() & _BY_POSITION:
            coords["logits_at"] = ("logits_at", list(self.positions[0]))
        return xr.Dataset(variables, coords)

    def frame(self) -> pd.DataFrame:
        """One line a row: its labels, then the most probable next token's id and probability at the
        last position asked for, the metric, and the new text, as far as they were asked for."""
        import pandas as pd

        names = list(itertools.product(*self.axes.values()))
        columns: dict[str, Any] = {
            axis: [row[n] for row in names] for n, axis in enumerate(self.axes)
        }
        rows = torch.arange(len(self))
        last = torch.tensor([max(0, len(tokens) - 1) for tokens in self.positions])
        if self.logits is not None:
            best = self.logits.detach()[rows, last].float().softmax(-1).max(-1)
            columns["first_token_id"] = best.indices.tolist()
            columns["first_token_probability"] = best.values.tolist()
        elif self.top_tokens is not None and self.top_log_probabilities is not None:
            columns["first_token_id"] = self.top_tokens[rows, last, 0].tolist()
            found = self.top_log_probabilities.detach()[rows, last, 0].exp()
            columns["first_token_probability"] = found.tolist()
        if self.metric is not None and self.metric.ndim == 1:
            columns["metric"] = self.metric.detach().tolist()
        if self.generation is not None:
            columns["text"] = list(self.generation.texts)
        return pd.DataFrame(columns)

    def __repr__(self) -> str:
        return f"Runs({self.plan})"


_TOLD = 5
"""Rows of a generation that are printed."""
_BY_POSITION = {"logits", "top_tokens", "top_log_probabilities"}
_TAKEN = {*_BY_POSITION, "logits_at", "rank", "d_vocab", "text"}
_TAKEN |= {"first_token_id", "first_token_probability"}


def axes_of(
    labels: Iterable[Any] | Mapping[str, Iterable[Any]] | None, n: int
) -> dict[str, tuple[Any, ...]]:
    """The axes of ``n`` rows from what a user calls them.

    Raises:
        PatchError: they do not name so many rows.
    """
    if isinstance(labels, Mapping):
        axes = {str(name): _plain(names) for name, names in labels.items()}
    else:
        axes = {"row": tuple(range(n)) if labels is None else _plain(labels)}
    taken = [name for name in axes if name in _TAKEN or name.startswith("metric")]
    if taken:
        raise PatchError(
            "An axis of rows has the name of something else in the result.",
            got=", ".join(taken),
            expected=f"a name other than metric, {', '.join(sorted(_TAKEN))}",
            instead='labels={"layer": range(30), "position": range(12)}',
        )
    if n and math.prod(map(len, axes.values())) == n:
        return axes
    raise PatchError(
        "There is not one label for each list of patches.",
        got=f"{n} lists, " + " x ".join(f"{len(names)} {name}" for name, names in axes.items()),
        expected="at least one list, and as many labels, or axes with as many cells",
        instead='labels={"source_layer": range(30), "target_layer": range(30)}',
    )


def _plain(names: Any) -> tuple[Any, ...]:
    """Labels without the tensor or array that they came in."""
    found = checks.listed(names, "labels", PatchError)
    found = found.tolist() if hasattr(found, "tolist") else found
    if not isinstance(found, Iterable):
        raise PatchError(
            "These are not labels.",
            got=checks.seen(names),
            expected="a list with one for each list of patches",
            instead='labels={"layer": range(30), "position": range(12)}',
        )
    return tuple(found)


def _objects(values: Sequence[Any]) -> Any:
    """An array of labels; such as are tuples stay whole."""
    if all(isinstance(v, int | float | str) for v in values):
        return list(values)
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def _shown(prompts: Sequence[TokenizedPrompt]) -> str:
    shown = [cut("|".join(prompt.labels), 200) for prompt in prompts[:3]]
    return without_control(", ".join(shown + ["…"] * (len(prompts) > 3)).replace("\n", "⏎"))
