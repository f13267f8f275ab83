"""A study that writes states of its items into inspection prompts, cell by cell."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from lensscope.studies.items import Items
from lensscope.studies.parts import Part
from lensscope.studies.study import Study
from lensscope.studies.sweep import Grid, Sweep
from lensscope.studies.sweep_lines import measured

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class SweptStudy(Study):
    """A study of a sweep; what it does beyond that, it adds.

    Attributes:
        grid: the cells.
    """

    grid: Grid

    @functools.cached_property
    @abstractmethod
    def items(self) -> Items:
        """What is read and scored."""

    @functools.cached_property
    def sweep(self) -> Sweep:
        """What is run."""
        layers = self.grid.within(self.backend)
        models = (self.backend, self.backend)
        return Sweep(self.items, self.grid, *models, layers, self.seed, self.memory_budget)

    def parts(self) -> list[Part]:
        return self.sweep.parts()

    def check(self) -> None:
        self.sweep.check()

    def check_whole(self) -> None:
        self.sweep.check_whole()

    def prepare(self) -> Mapping[str, Tensor]:
        return self.sweep.prepare()

    def measure(self, part: Part, shared: Mapping[str, Tensor]) -> pd.DataFrame:
        return measured(self.sweep, part, shared)
