"""At which layer can a lens read the token that the model will say?

Ghandeharioun et al. 2024, "Patchscopes", section 4.1: precision@1 and surprisal of what lenses read
in hidden states, against the model's own final distribution. As `compare`, with controls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from lensscope import checks
from lensscope.checks import whole_number
from lensscope.errors import StudyError
from lensscope.lenses.checks import refuse_nan
from lensscope.lenses.compare import readable
from lensscope.lenses.lens import Lens
from lensscope.lenses.logit import LogitLens
from lensscope.lenses.measures import agreement
from lensscope.lenses.places import States
from lensscope.lenses.states import Asked, Gathered, asked, gathered
from lensscope.model.head import rows_at_once
from lensscope.patchscope.controls import as_long_as
from lensscope.patchscope.layers import layers_of
from lensscope.patchscope.lens import PatchscopeLens
from lensscope.patchscope.scope import Patchscope
from lensscope.studies.controls import Spread, groups
from lensscope.studies.experiments.next_token.summary import next_token_result
from lensscope.studies.folder import Folder
from lensscope.studies.given import as_layers, as_lenses
from lensscope.studies.parts import TEXTS, Part
from lensscope.studies.result import StudyResult
from lensscope.studies.study import BUDGET, Study
from lensscope.studies.texts import Rows, Text, texts_of
from lensscope.values.positions import ALL, All, PositionLike
from lensscope.values.sites import Site, resid_post

if TYPE_CHECKING:
    import pandas as pd

_GROUP: Final = 8
"""Texts of a part."""
_Cell: TypeAlias = "tuple[int, Site, str, int]"
"""A lens by number, a site, a condition, and which draw of it."""


@dataclass(frozen=True, eq=False, repr=False)
class NextToken(Study):
    """See `next_token`."""

    texts: tuple[Text, ...]
    lenses: tuple[Lens, ...]
    positions: Any
    layers: tuple[int, ...] | None
    random_draws: int
    kind: ClassVar[str] = "next_token"

    # ---------------------------------------------------------------- what is read

    def sites(self) -> list[Site]:
        """Block outputs."""
        return [resid_post(layer) for layer in layers_of(self.backend, resid_post, self.layers)]

    def reads(self, items: Sequence[int]) -> list[Asked]:
        """Texts as prompts, with the tokens that are read."""
        given = [self.texts[item] for item in items]
        prompts: list[Any] = [text if isinstance(text, str) else list(text) for text in given]
        if isinstance(self.positions, tuple):
            return asked(self.backend, [(prompt, self.positions) for prompt in prompts], None)
        found = asked(self.backend, prompts, self.positions)
        if isinstance(self.positions, All | slice):
            # the first token of a text, with a BOS or without, is an attention sink
            found = [replace(one, tokens=tuple(n for n in one.tokens if n)) for one in found]
        lacking = [one.prompt.text for one in found if not one.tokens]
        if lacking:
            raise StudyError(
                "A text has no token to be read but its first, which is an attention sink.",
                got=repr(lacking[0]),
                expected="texts of at least two tokens",
                instead="longer texts, or positions=-1, which is taken as it is",
            )
        return found

    def groups(self) -> list[list[int]]:
        """The texts of each part."""
        return groups(len(self.texts), _GROUP, self.seed)

    def arguments(self) -> dict[str, Any]:
        return {
            "title": f"{len(self.texts)} texts",
            "texts": [text if isinstance(text, str) else list(text) for text in self.texts],
            "lenses": [[lens.name, lens.signature] for lens in self.lenses],
            "positions": repr(self.positions),
            "first_tokens_read": sum(0 in one.tokens for one in self.reads(range(len(self.texts)))),
            "layers": [site.layer for site in self.sites()],
            "random_draws": self.random_draws,
            "seed": self.seed,
            "memory_budget": self.memory_budget,
        }

    def parts(self) -> list[Part]:
        return [TEXTS.part(n) for n in range(len(self.groups()))]

    def check(self) -> None:
        """Refuse what cannot be run, before anything is.

        Raises:
            StudyError: one text alone.
            LensError, BasisError: a lens of another model, or that reads none of the layers.
            PromptError, PositionError, SiteError: of texts, positions and layers.
        """
        whole_number(self.random_draws, "random_draws", 1, 1, error=StudyError)
        self.groups()
        self.sites()
        self.reads(range(len(self.texts)))
        for lens in self.lenses if self.lenses != _lenses() else ():
            readable(lens, self.backend, self.sites(), wanted=self.layers)

    def check_whole(self) -> None:
        for lens in self.lenses:
            readable(lens, self.backend, self.sites(), wanted=self.layers)

    def prepare(self) -> Mapping[str, Tensor]:
        """The mean state of each layer over all that is read, ``[layer, width]``, and vectors
        drawn as these states are spread, ``[draw, layer, width]``."""
        spread = Spread(self.random_draws, self.seed)
        for group in self.groups():
            for part in self._gathered(self.reads(group), final=False):
                spread.add(torch.stack([part.states[site] for site in self.sites()], 1))
        return {"mean": spread.mean(), "drawn": spread.drawn()}

    def _gathered(self, reads: Sequence[Asked], *, final: bool) -> Iterator[Gathered]:
        return gathered(
            self.backend, reads, self.sites(), final=final, memory_budget=self.memory_budget
        )

    # ---------------------------------------------------------------- parts

    def measure(self, part: Part, shared: Mapping[str, Tensor]) -> pd.DataFrame:
        """A line for each token that is read, by lens, layer and condition."""
        items = self.groups()[part.numbers[0]]
        rows = Rows(items, self.reads(items))
        lenses = [lens.on(self.backend.device) for lens in self.lenses]
        found: dict[_Cell, Tensor] = {}
        finals: list[tuple[list[int], Gathered]] = []
        for some in self._gathered(rows.reads, final=True):
            at = rows.of(some.prompts)
            draws = [self._random(some.states, rows, at, d) for d in range(self.random_draws)]
            for n, lens in enumerate(lenses):
                written = [("state", 0, some.states)]
                written += [("random", draw, states) for draw, states in enumerate(draws)]
                for condition, draw, states in written:
                    for site, best in self._best(lens, states).items():
                        empty = torch.empty(len(rows), dtype=torch.long)
                        found.setdefault((n, site, condition, draw), empty)[at] = best
            finals.append((at, replace(some, states={})))
        for n, lens in enumerate(lenses):
            nulls = torch.cat([shared["mean"][None], shared["drawn"]])
            given = {s: nulls[:, at] for at, s in enumerate(self.sites())}
            prior = self._prior(lens)
            for site, best in self._best(lens, given).items():
                found[n, site, "mean", 0] = best[:1].expand(len(rows))
                for draw, drawn in enumerate(best[1:]):
                    found[n, site, "drawn", draw] = drawn[None].expand(len(rows))
                found[n, site, "shuffled", 0] = found[n, site, "state", 0][rows.others()]
                if prior is not None:
                    found[n, site, "prior", 0] = prior.expand(len(rows))
        return self._scored(rows, found, finals)

    def _scored(
        self,
        rows: Rows,
        found: Mapping[_Cell, Tensor],
        finals: Sequence[tuple[list[int], Gathered]],
    ) -> pd.DataFrame:
        """Most probable tokens against what the model says."""
        import pandas as pd

        frames, step = [], rows_at_once(self.backend)
        for at, part in finals:
            for first in range(0, len(at), step):
                some = at[first : first + step]
                final = part.final(self.backend, slice(first, first + len(some)))
                same = rows.columns(some)
                for (n, site, condition, draw), best in found.items():
                    own = best[some].to(final.log_p.device)
                    scores = {k: v.tolist() for k, v in agreement(own, final).items()}
                    columns = {
                        "lens": self.lenses[n].name,
                        "layer": site.layer,
                        "condition": condition,
                        "draw": draw,
                        "predicted": own.tolist(),
                    }
                    frames.append(pd.DataFrame({**same, **columns, **scores}))
        return TEXTS.frame(pd.concat(frames, ignore_index=True))

    def _random(self, states: States, rows: Rows, at: Sequence[int], draw: int) -> States:
        """For each state a random vector of its length, which its text and token decide."""
        found = {}
        for n, (site, own) in enumerate(states.items()):
            seeds = [(self.seed, rows.item(row), rows.token(row), draw, n) for row in at]
            pairs = zip(own, seeds, strict=True)
            drawn = [as_long_as(state, np.random.default_rng(seed)) for state, seed in pairs]
            found[site] = torch.stack(drawn)
        return found

    def _best(self, lens: Lens, states: States) -> dict[Site, Int[Tensor, " row"]]:
        """The most probable token of each state."""
        backend = self.backend
        sites = readable(lens, backend, self.sites(), wanted=self.layers)
        own = {s: states[s].to(backend.device, backend.dtype) for s in sites}
        number, step = len(next(iter(own.values()))), lens.rows(backend, len(sites))
        found: dict[Site, list[Tensor]] = {site: [] for site in sites}
        for first in range(0, number, step):
            some = {site: rows[first : first + step] for site, rows in own.items()}
            for site, logits in lens.each(backend, some):
                found[site].append(_most_probable(logits, f"{lens.name} at {site!r}"))
        return {site: torch.cat(best) for site, best in found.items()}

    def _prior(self, lens: Lens) -> Int[Tensor, " one"] | None:
        """The most probable token of a patchscope's prompt as it is; other lenses have none."""
        if not isinstance(lens, PatchscopeLens):
            return None
        return _most_probable(lens.prior(self.backend)[None], lens.name)

    @classmethod
    def summary(cls, folder: Folder) -> StudyResult:
        return next_token_result(folder)


def _lenses() -> tuple[Lens, ...]:
    """The lenses that come along."""
    return LogitLens(), Patchscope.token_identity().as_lens()


def _most_probable(logits: Tensor, what: str) -> Int[Tensor, " row"]:
    log_q = logits.float().log_softmax(-1)
    refuse_nan(log_q, what)
    return log_q.argmax(-1).cpu()


@checks.door(StudyError, positions=checks.optional(checks.listed))
def next_token(
    model: Any,
    texts: Iterable[Any] | Path | None = None,
    lenses: Lens | Iterable[Lens] | None = None,
    *,
    positions: PositionLike | Sequence[PositionLike] | None = -1,
    layers: Iterable[int] | int | None = None,
    random_draws: int = 1,
    seed: int = 0,
    memory_budget: int = BUDGET,
) -> NextToken:
    """How early lenses read what the model will say next: a study, to be `run`.

    For each lens and block output, ``precision_at_1`` and ``surprisal`` as `compare` has them, of
    the states themselves and of controls: the state of another text at this layer, the layer's mean
    state, a vector with the states' own mean and covariance, a random vector as long as each state,
    and, of a patchscope, its inspection prompt with nothing written into it. Other lenses have no
    such prior.

    Where all tokens of a text are read, or a slice of them, the first one is left out: it is an
    attention sink, whose state is hardly the text's. A position that is named is read as it is, and
    the result says where that is the first.

    Args:
        model: the model, or a function without arguments that loads it.
        texts: texts or token ids; a ``Path`` to a text file with a text a line; by default those
            that come with lensscope.
        lenses: one or several, of different names; by default the logit lens and the token-identity
            patchscope.
        positions: which tokens are read; the last by default, ``None`` for all but the first.
        layers: of block outputs; all by default.
        random_draws: random vectors for each state, and drawn ones for each layer.
        seed: of random vectors, of which other text is the control, and of halves.
        memory_budget: bytes that running texts may take.

    Raises:
        StudyError: no texts, no lenses, two of one name, or one that cannot be told apart later.
        PromptError: a file that cannot be read.

    Example:
        >>> study = ls.studies.next_token(
        ...     model, ["The capital of Japan is the city of", "Two and two make"],
        ...     ls.LogitLens(), layers=[10, 29])
        >>> study.run().data.precision_at_1.sel(condition="state", lens="logit lens").values
        array([0., 1.])
    """
    if positions is None:
        positions = ALL
    return NextToken(
        model=model,
        seed=seed,
        memory_budget=memory_budget,
        texts=texts_of(texts),
        lenses=_lenses() if lenses is None else as_lenses(lenses),
        positions=tuple(positions) if isinstance(positions, list | range) else positions,
        layers=as_layers(layers),
        random_draws=random_draws,
    )
