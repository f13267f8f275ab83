"""What a study found, from its folder alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import xarray as xr

from lensscope import checks
from lensscope.errors import StudyError
from lensscope.show.heatmaps import Panel
from lensscope.show.lines import Chart, names_of, to_plotly, to_svg
from lensscope.show.showing import Shown
from lensscope.show.tables import brief
from lensscope.show.terminal import table_of
from lensscope.signs import without_control
from lensscope.store.json_text import json_text, records
from lensscope.studies.folder import Folder
from lensscope.studies.parts import CELLS
from lensscope.studies.report import study_section

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from rich.table import Table


@dataclass(frozen=True, eq=False)
class StudyResult(Shown):
    """Accuracies of a study with their controls.

    Attributes:
        data: every cell by condition (``"state"`` and the controls), with ``…_low`` and ``…_high``,
            a 95 % interval over items (`lensscope.stats.intervals`); axes and values by name.
        headline: the table for a paper, a line for each way of choosing layers, with how it was
            chosen and how many items are scored.
        tables: other tables by name.
        charts: lines over layers, with the controls.
        panels: heat maps, and generated texts by layer.
        notes: what a reader must know, a sentence each.
        manifest: what was run: arguments, models, versions.
        folder: where the parts are.

    Example:
        >>> study = ls.studies.next_token(
        ...     model, ["The capital of Japan is the city of", "Two and two make"],
        ...     ls.LogitLens(), layers=[10, 29])
        >>> result = study.run()
        >>> result.data.precision_at_1.sel(condition="state", layer=29).values
        array([1.])
    """

    data: xr.Dataset
    headline: pd.DataFrame
    tables: Mapping[str, pd.DataFrame]
    charts: tuple[Chart, ...]
    panels: tuple[Panel, ...]
    notes: tuple[str, ...]
    manifest: Mapping[str, Any]
    folder: Folder

    @property
    def title(self) -> str:
        """What it is a study of."""
        of = self.manifest["arguments"].get("title")
        name = str(self.manifest["study"]).replace("_", " ").capitalize()
        return f"{name}: {of}" if of else name

    @property
    def finished(self) -> bool:
        """Whether all parts are there."""
        return len(self.folder.done()) >= int(self.manifest["parts"])

    # ---------------------------------------------------------------- numbers

    def frame(self) -> pd.DataFrame:
        """One line a cell and condition: axes first, then values with their intervals, and of how
        many items they are."""
        dims = max((self.data[name].dims for name in self.data), key=len)
        names = [str(name) for name in self.data if self.data[name].dims == dims]
        counts = {
            name: self.data[name].broadcast_like(self.data[names[0]]).transpose(*dims)
            for name in ("items", "texts", "entities")
            if name in self.data
        }
        found = self.data[names].assign(counts)
        frame = found.to_dataframe(dim_order=list(dims)).reset_index()
        return frame.dropna(subset=names[:1]).reset_index(drop=True)

    def cells(self) -> Iterator[pd.DataFrame]:
        """All that was generated or measured, part after part, as it is kept."""
        return self.folder.read()

    @checks.door(StudyError, name=checks.text)
    def texts(self, name: str, **where: Any) -> pd.DataFrame:
        """What was generated for an item, a line a cell.

        Args:
            name: the item.
            **where: values of columns, such as ``source_layer=12``.
        """
        found = []
        for part in CELLS.of(self.folder):
            own = part[part["name"] == name]
            for column, value in where.items():
                if column not in own:
                    raise StudyError(
                        "The cells of this study have no such column.",
                        got=f"{column}={checks.seen(value)}",
                        expected=", ".join(map(str, own.columns)),
                        instead="result.texts(name, source_layer=12)",
                    )
                own = own[own[column] == value]
            if len(own):
                found.append(own)
        return pd.concat(found, ignore_index=True) if found else pd.DataFrame()

    # ---------------------------------------------------------------- showing

    def table(self) -> Table:
        """The headline, briefly, for the terminal: of the controls only the largest."""
        found = brief(self.headline)
        return table_of(
            self.title,
            list(map(str, found.columns)),
            [[without_control(str(v)) for v in row] for row in found.itertuples(index=False)],
            caption=self.caption,
        )

    @property
    def caption(self) -> str:
        """What the numbers are of."""
        models = ", ".join(str(own["model"]) for own in self.manifest["models"].values())
        done, parts = len(self.folder.done()), int(self.manifest["parts"])
        unfinished = "" if self.finished else f" UNFINISHED: {done} of {parts} parts."
        few = "".join(f" {note}" for note in self.notes if note.startswith("WARNING: only"))
        return f"{models}; 95% intervals over items.{few}{unfinished}"

    def _printed(self) -> tuple[pd.DataFrame, str]:
        return self.headline, self.caption

    @checks.door(StudyError, number=checks.whole(0))
    def plot(self, number: int = 0) -> go.Figure:
        """One of the charts as a plotly figure: accuracy over layers, with the controls."""
        return to_plotly(self.charts[number], names_of(self.charts))

    def _svg(self) -> str:
        return to_svg(*self.charts[:3], names=names_of(self.charts))

    def section(self) -> str:
        """What it says, as a piece of HTML."""
        shown = (self.charts, self.panels, self.tables)
        return study_section(self.caption, self.headline, self.notes, *shown, self.manifest)

    def _json(self) -> str:
        tables = {"headline": self.headline, "cells": self.frame(), **self.tables}
        return json_text(
            {
                "title": self.title,
                "notes": list(self.notes),
                "manifest": {name: v for name, v in self.manifest.items() if name != "keys"},
                **{name: records(table) for name, table in tables.items()},
            },
        )

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}: {size}" for name, size in self.data.sizes.items())
        return f"StudyResult({self.title}; {sizes}; {self.caption})"
