"""States written into a prompt, and what a model then says: the one way in which this is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from lensscope.engine.logits import Metric
from lensscope.engine.run_many import run_many
from lensscope.engine.runs import Runs
from lensscope.model.adapters import Adapter
from lensscope.model.backend import Backend
from lensscope.patchscope.inspection import InspectionPrompt
from lensscope.patchscope.trained import Trained
from lensscope.values.operations import Map
from lensscope.values.positions import PositionsLike
from lensscope.values.prompts import TokenizedPrompt
from lensscope.values.rules import Rule
from lensscope.values.sites import Patch, Site
from lensscope.values.transforms import BySite


@runtime_checkable
class Writer(Protocol):
    """What inspecting, and the lens, ask of a `Patchscope`."""

    @property
    def inspection(self) -> InspectionPrompt:
        """The target prompt."""

    @property
    def write(self) -> Site:
        """The kind of site that is written; with a layer, always that layer."""

    @property
    def read(self) -> Site | None:
        """The kind of site that is read; ``None`` for the kind that is written."""

    @property
    def transform(self) -> Map | BySite | None:
        """The map from what is read to what is written."""

    @property
    def model(self) -> Any:
        """The target model; ``None`` for the source model."""

    @property
    def mix(self) -> float:
        """How far the placeholder's state is replaced."""

    @property
    def match_norm(self) -> bool:
        """Whether what is written gets the length of what it replaces."""

    @property
    def rule(self) -> Rule | None:
        """How it is written, in place of both."""

    @property
    def adapter(self) -> Adapter | None:
        """What is added to the target model while it says something."""

    @property
    def earliest(self) -> int:
        """The first layer that is written, of each state at its own."""

    def settled(self, n_layers: int) -> Writer:
        """The same, writing at its own layer always."""

    @property
    def trained(self) -> Trained | None:
        """How it was trained; ``None`` if it was not."""

    def patch(self, site: Site, value: Float[Tensor, " d_out"]) -> Patch:
        """The write of a value at a place."""


def adapted(scope: Writer, target: Backend) -> AbstractContextManager[None]:
    """A patchscope's adapter on the target model, in a ``with`` block: where something is said, and
    nowhere that states are read.

    Raises:
        BasisError: the adapter is of another model.
    """
    return nullcontext() if scope.adapter is None else scope.adapter.on(target)


def write_and_decode(
    target: Backend,
    prompt: TokenizedPrompt,
    places: Sequence[int],
    writes: Iterable[tuple[Site, Float[Tensor, "*width"] | Sequence[Tensor]] | None],
    *,
    patch: Callable[[Site, Tensor], Patch] = Site.set,
    max_new_tokens: int = 0,
    positions: PositionsLike = -1,
    metric: Metric | None = None,
    top_k: int | None = None,
    at_once: int | None = None,
    grad: bool = False,
    memory_budget: int | None = None,
    **sampling: Any,
) -> Iterator[Runs]:
    """Write each state into a prompt, at all its places, and let the model go on from there.

    Args:
        target: the model that says something.
        prompt: its prompt.
        places: the tokens that are written; of a patchscope its placeholders.
        writes: a row each: a state, mapped already, or one for each place, and the site with its
            layer that it is written at; ``None`` leaves the prompt as it is.
        patch: the write of a state at a place; of a patchscope its own.
        max_new_tokens: how much is generated. If nothing is, logits are kept.
        positions: of which tokens; of the last by default.
        metric: kept in place of the logits, as in `lensscope.run_many`.
        top_k: keep so many most probable next tokens in place of the logits.
        at_once: so many rows are taken from ``writes`` and run at a time; all by default.
        grad: let gradients flow from the logits to the states.
        memory_budget: bytes that the runs may take.
        **sampling: how texts go on, as in `lensscope.generate`.

    Yields:
        The runs of ``at_once`` rows, in order.

    Raises:
        PatchError, SiteError, PromptError, ModelError, BudgetError: as `lensscope.run_many`.
    """

    def patches(row: tuple[Site, Any] | None) -> list[Patch]:
        if row is None:
            return []
        each = [row[1]] * len(places) if isinstance(row[1], Tensor) else row[1]
        return [patch(row[0].at(at), value) for at, value in zip(places, each, strict=True)]

    rows = iter(writes)
    while some := list(islice(rows, at_once)):
        yield run_many(
            target,
            prompt,
            [patches(row) for row in some],
            positions=None if max_new_tokens else positions,
            metric=metric,
            top_k=top_k,
            max_new_tokens=max_new_tokens,
            grad=grad,
            memory_budget=memory_budget,
            **sampling,
        )
