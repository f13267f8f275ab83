"""What a lens read: layer × position × rank, for each prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
import pandas as pd
import xarray as xr

from lensscope import checks
from lensscope.errors import LensError
from lensscope.lenses.measures import MEASURES
from lensscope.lenses.pictures import axis_of, lens_panels, paired, slots_of, trajectories
from lensscope.show import heatmaps, lines
from lensscope.show.heatmaps import Panel
from lensscope.show.pages import page, rendered
from lensscope.show.showing import Shown, written
from lensscope.show.terminal import table_of
from lensscope.signs import visible
from lensscope.store.json_text import json_text, records
from lensscope.store.lasting import Lasting
from lensscope.values.positions import FORMS
from lensscope.values.provenance import Provenance
from lensscope.values.sites import Site
from lensscope.values.together import distinct, joined, of_one_kind, one_provenance

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from rich.table import Table
    from typing_extensions import Self

FRAME_COLUMNS: Final = (
    "prompt",
    "lens",
    "layer",
    "position",
    "token",
    "rank",
    "predicted",
    "log_probability",
)
_READING: Final = checks.instance("LensReading", "lens.read(model, prompt)")
_PROMPTS_SHOWN: Final = 3
_TOKENS_SHOWN: Final = 8


@dataclass(frozen=True, eq=False)
class LensReading(Shown, Lasting):
    """What a lens read.

    Attributes:
        data: axes ``prompt``, ``layer``, ``position``, ``rank`` (0 is the most probable token);
            variables ``predicted`` (text), ``token_id``, ``log_probability`` (nats), and without
            ``rank`` what else was asked for: ``entropy``, ``kl``, ``next_token_rank``,
            ``next_token_log_probability``; with an axis ``target``, ``target_rank`` and
            ``target_log_probability``; with an axis ``d_vocab``, ``full_log_probability``.
            ``token`` and ``token_index`` say which token was read. ``site`` is a coordinate beside
            ``layer``; where layers do not tell the sites apart, the axis is ``site``. Of a single
            prompt, ``position`` is the index of a token; of several, it numbers the tokens that
            were read, and ``token_index`` says which they are. Raw vectors are prompts of one
            position that is no token, -1.
        lens: the name of the lens.
        sites: what was read.
        provenance: of the model.
        notes: what must be known of the tokens to read it right.
        signature: by which the lens is told apart from others of its name; empty where it cannot
            be, for there are functions in it.

    Example:
        >>> reading = ls.LogitLens().read(model, "The Eiffel Tower is in the city of", layers=[28])
        >>> reading.data.predicted.sel(layer=28, position=8, rank=[0, 1]).values
        array([[' Paris', ' T']], dtype=object)
    """

    made_of: ClassVar = (Provenance, Site, *FORMS)

    data: xr.Dataset
    lens: str
    sites: tuple[Site, ...]
    provenance: Provenance
    notes: tuple[str, ...] = ()
    signature: str = ""

    @classmethod
    @checks.door(LensError, results=checks.listed)
    def together(cls, results: Sequence[Self]) -> Self:
        """One reading of several, as if all prompts had been read in one call.

        Args:
            results: of one lens and the same model, of the same sites, ranks and measures.

        Raises:
            LensError: other lenses, sites, ranks or measures.
            BasisError: other models.

        Example:
            >>> each = [ls.LogitLens().read(model, text) for text in ("Paris is", "Rome")]
            >>> ls.LensReading.together(each)
            LensReading(logit lens; prompt: 2, layer: 30, position: 2, rank: 10; SmolLM2...)
        """
        found = of_one_kind(results, cls, LensError, ("lens", "signature", "sites"))
        return replace(
            found[0],
            data=joined([one.data for one in found], "prompt", LensError),
            provenance=one_provenance([one.provenance for one in found]),
            notes=distinct([one.notes for one in found]),
        )

    @property
    def title(self) -> str:
        """The lens' name, and what it read unless that was block outputs."""
        kinds = {f"{s.kind}{'' if s.head is None else f', head {s.head}'}" for s in self.sites}
        where = "" if kinds == {"resid_post"} else f" of {', '.join(sorted(kinds)[:3])}"
        return self.lens[:1].upper() + self.lens[1:] + where

    @property
    def axis(self) -> str:
        """``"layer"``, or ``"site"`` where several sites share a layer."""
        return axis_of(self.data)

    def frame(self) -> pd.DataFrame:
        """One line a prompt, layer, position and rank, with the columns of `FRAME_COLUMNS`, then
        the site, and what else was measured of each token; targets are in `data`."""
        numbered = self.data.assign_coords(prompt=np.arange(self.data.sizes["prompt"]))
        ranked = numbered.drop_dims([d for d in ("target", "d_vocab") if d in self.data.dims])
        frame = ranked.to_dataframe().reset_index()
        known = frame["token_index"] >= 0
        if known.any():
            frame = frame[known].reset_index(drop=True)
        texts = dict(enumerate(self.data["prompt"].values))
        frame = frame.assign(
            prompt=frame["prompt"].map(texts),
            lens=self.lens,
            position=frame["token_index"] if known.any() else pd.NA,
        )
        rest = [c for c in ("site", *MEASURES) if c in frame]
        return frame[[*FRAME_COLUMNS, *rest]]

    # ---------------------------------------------------------------- showing

    @checks.door(LensError, value=checks.text, beside=_READING)
    def plot(self, value: str = "probability", beside: LensReading | None = None) -> go.Figure:
        """The lens table: layers by tokens, the most probable token in each cell, the next ones
        when pointed at.

        Args:
            value: what colours the cells: ``"probability"`` of the token, or a measure such as
                ``"kl"`` or ``"entropy"``.
            beside: another lens' reading of the same prompts, drawn beside this one.

        Raises:
            LensError: it was not measured.
        """
        panels, name = self._panels(value, beside)
        return heatmaps.to_plotly(panels, name, across=2 if beside is not None else 1)

    @checks.door(LensError, value=checks.text, beside=_READING)
    def to_svg(
        self,
        path: str | Path | None = None,
        value: str = "probability",
        beside: LensReading | None = None,
    ) -> str:
        """The same picture as SVG, which needs no script; written to ``path`` if there is one."""
        panels, name = self._panels(value, beside)
        return written(heatmaps.to_svg(panels, name, 2 if beside is not None else 1), path)

    @checks.door(LensError, value=checks.text)
    def to_html(self, path: str | Path | None = None, value: str = "probability") -> str:
        """A page that needs nothing else; written to ``path`` if there is one.

        Args:
            path: where to.
            value: what colours the cells, as in `plot`.
        """
        return written(page(self.title, [self._section(value)]), path)

    def _svg(self) -> str:
        return self.to_svg()

    def _panels(self, value: str, beside: LensReading | None) -> tuple[list[Panel], str]:
        panels = lens_panels(self.data, self.title, value)
        if beside is not None and not (
            np.array_equal(self.data["prompt"].values, beside.data["prompt"].values)
            and np.array_equal(self.data["token_index"].values, beside.data["token_index"].values)
        ):
            raise LensError(
                "Two readings of different prompts or tokens do not go side by side.",
                got=f"{self.data['token_index'].shape} and {beside.data['token_index'].shape}",
                expected="readings of the same prompts at the same positions",
                instead="beside=other.read(model, prompt)",
            )
        if beside is not None:
            panels = paired(panels, lens_panels(beside.data, beside.title, value))
        return panels, "p(token)" if value == "probability" else value.replace("_", " ")

    @checks.door(LensError, value=checks.text, prompt=checks.whole(0))
    def plot_trajectories(self, value: str | None = None, prompt: int = 0) -> go.Figure:
        """Lines over layers, one for each token that was read, or for each target.

        Args:
            value: ``"target_log_probability"``, ``"target_rank"``, or a measure; by default what
                was asked of targets, or else the first measure.
            prompt: which prompt.

        Raises:
            LensError: it was not measured.
        """
        return lines.to_plotly(trajectories(self.data, self.title, value, prompt))

    @checks.door(LensError, value=checks.text, prompt=checks.whole(0))
    def trajectories_svg(
        self, value: str | None = None, prompt: int = 0, path: str | Path | None = None
    ) -> str:
        """The same lines as SVG; written to ``path`` if there is one."""
        return written(lines.to_svg(trajectories(self.data, self.title, value, prompt)), path)

    def section(self) -> str:
        """What it says, as a piece of HTML: a lens table for each prompt."""
        return self._section()

    def _section(self, value: str = "probability") -> str:
        panels = lens_panels(self.data, self.title, value)
        return rendered(
            "lens.html",
            model=self.provenance.model,
            notes=self.notes,
            value=value.replace("_", " "),
            panels=panels,
            low=min(panel.low for panel in panels),
            high=max(panel.high for panel in panels),
        )

    def _json(self) -> str:
        frame = self.frame()
        # by number, for a prompt would stand in every cell
        index = {text: n for n, text in enumerate(self.data["prompt"].values)}
        cells = frame.assign(prompt=frame["prompt"].map(index)).drop(columns="lens")
        value = {
            "lens": self.lens,
            "sites": [repr(site) for site in self.sites],
            "prompts": self.data["prompt"].values.tolist(),
            "provenance": asdict(self.provenance),
            "notes": self.notes,
            "cells": records(cells),
        }
        if "target" in self.data.dims:
            of_targets = self.data[["target_rank", "target_log_probability"]].to_dataframe()
            rows = of_targets.dropna().reset_index()
            rows = rows.assign(prompt=rows["prompt"].map(index))
            value["targets"] = records(rows)
        return json_text(value)

    def table(self) -> Table:
        """For the terminal: layers down, tokens across, the most probable token in each cell; of a
        single token, its most probable tokens across. Of the first prompts and last tokens only,
        where there are many."""
        from rich.text import Text

        name, several = self.axis, self.data.sizes["prompt"] > 1
        single = bool(((self.data["token_index"] >= 0).sum("position") <= 1).all())
        columns, rows = [name], list[list[Any] | None]()
        for n in range(min(_PROMPTS_SHOWN, self.data.sizes["prompt"])):
            own = self.data.isel(prompt=n)
            slots = slots_of(own)[-_TOKENS_SHOWN:]
            ranks = range(min(5, own.sizes["rank"])) if single else range(1)
            tokens = [visible(str(own["token"].values[i])) for i in slots]
            heads = [f"top {r + 1}" for r in ranks] if single else tokens
            columns += heads if n == 0 else []
            width = len(columns) - 1
            if several:
                shown = [visible(str(own["prompt"].item()))[-40:]] if single else heads
                rows += [None, ["", *(Text(t, style="bold") for t in shown[:width])]]
            for k in range(own.sizes[name]):
                row = [
                    f"{visible(str(own['predicted'].values[k, i, r]))} "
                    f"{np.exp(own['log_probability'].values[k, i, r]):.2f}"
                    for i in slots
                    for r in ranks
                ]
                rows.append([str(own[name].values[k]), *row[:width]])
        left = []
        if self.data.sizes["prompt"] > _PROMPTS_SHOWN:
            left.append(f"the first {_PROMPTS_SHOWN} of {self.data.sizes['prompt']} prompts")
        if self.data.sizes["position"] > _TOKENS_SHOWN:
            left.append(f"the last {_TOKENS_SHOWN} tokens of each")
        return table_of(
            self.title, columns, rows, caption="; ".join(left), notes=self.notes, numbers=[0]
        )

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}: {size}" for name, size in self.data.sizes.items())
        return f"LensReading({self.lens}; {sizes}; {self.provenance.model})"
