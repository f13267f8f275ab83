"""Results with named axes: a dataset that also is a table, a frame, a picture, a page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
import pandas as pd
import xarray as xr
from torch import Tensor

from lensscope import checks
from lensscope.errors import PatchError
from lensscope.patchscope.pictures import patchscope_panels, patchscope_section
from lensscope.show.heatmaps import Panel, to_plotly, to_svg
from lensscope.show.showing import Shown
from lensscope.show.terminal import table_of
from lensscope.signs import short, visible
from lensscope.store.json_text import json_text, records
from lensscope.store.lasting import Lasting
from lensscope.values.provenance import Provenance
from lensscope.values.together import distinct, joined, of_one_kind, one_provenance

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from rich.table import Table
    from typing_extensions import Self

FRAME_COLUMNS: Final = (
    "prompt",
    "source_layer",
    "target_layer",
    "position",
    "token",
    "text",
    "first_token",
    "first_token_probability",
    "logit_lens",
    "logit_lens_probability",
)
_UNNAMED: Final = re.compile(r"vector \d+")
_ROWS_SHOWN: Final = 60
_SAID: Final = ("text", "logit_lens", "token")


@dataclass(frozen=True, eq=False)
class Reading:
    """One state, where it was read and is written, and what was said of it."""

    prompt: int
    text: str
    slot: int
    position: int | None
    token: str
    source_layer: int | None
    target_layer: int
    state: Tensor
    value: Tensor
    text_out: str = ""
    first_token: str = ""
    first_token_probability: float = float("nan")


@dataclass(frozen=True, eq=False)
class PatchscopeResult(Shown, Lasting):
    """What a patchscope said of each state.

    Attributes:
        data: axes ``prompt``, ``position``, ``source_layer`` and, unless each source layer has its
            own target layer, ``target_layer``; variables ``text``, ``first_token``,
            ``first_token_probability``, ``token``, ``token_index`` and, for states of the residual
            stream, ``logit_lens`` and ``logit_lens_probability``. Raw vectors have the axes
            ``prompt`` (the vector) and ``target_layer``.
        inspection: the inspection prompt.
        placeholder: what marks the places that were written.
        inspection_tokens: the tokens that were run, BOS included where it was.
        plan: what the sweep did, in words.
        source: provenance of the states.
        target: provenance of the model that wrote.
        notes: what must be known of the states to read it right.
        settings: what else the patchscope says of how it is done.
    """

    made_of: ClassVar = (Provenance,)

    data: xr.Dataset
    inspection: str
    placeholder: str
    inspection_tokens: tuple[str, ...]
    plan: str
    source: Provenance
    target: Provenance
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        readings: Sequence[Reading],
        lens: Mapping[tuple[int, int, int | None], tuple[str, float]],
        *,
        grid: bool,
        **rest: Any,
    ) -> PatchscopeResult:
        """The result of these readings.

        Args:
            readings: one for each cell.
            lens: the logit lens' token and probability by prompt, slot and source layer.
            grid: whether target layers are an axis of their own.
            **rest: the other attributes.
        """
        vectors = readings[0].source_layer is None
        prompts = list(dict.fromkeys(r.prompt for r in readings))
        slots = list(dict.fromkeys(r.slot for r in readings))
        sources = list(dict.fromkeys(r.source_layer for r in readings))
        targets = list(dict.fromkeys(r.target_layer for r in readings))
        dims = (
            ["prompt", "target_layer"]
            if vectors
            else ["prompt", "position", "source_layer"] + (["target_layer"] if grid else [])
        )
        axes: dict[str, list[Any]] = {
            "prompt": prompts,
            "position": slots,
            "source_layer": sources,
            "target_layer": targets,
        }
        sizes = tuple(len(axes[d]) for d in dims)
        where = {d: {value: n for n, value in enumerate(axes[d])} for d in dims}

        def cell(r: Reading) -> tuple[int, ...]:
            own = (r.prompt, r.slot, r.source_layer, r.target_layer)
            values = dict(zip(axes, own, strict=True))
            return tuple(where[d][values[d]] for d in dims)

        texts = {n: np.full(sizes, "", dtype=object) for n in ("text", "first_token")}
        probability = np.full(sizes, np.nan)
        lens_token, lens_probability = np.full(sizes, "", dtype=object), np.full(sizes, np.nan)
        index = np.full((len(prompts), len(slots)), -1)
        token = np.full((len(prompts), len(slots)), "", dtype=object)
        for r in readings:
            at = cell(r)
            texts["text"][at], texts["first_token"][at] = r.text_out, r.first_token
            probability[at] = r.first_token_probability
            row, column = prompts.index(r.prompt), slots.index(r.slot)
            token[row, column] = r.token
            if r.position is not None:
                index[row, column] = r.position
            if lens:
                lens_token[at], lens_probability[at] = lens[r.prompt, r.slot, r.source_layer]
        variables: dict[str, Any] = {n: (dims, values) for n, values in texts.items()}
        variables["first_token_probability"] = (dims, probability)
        if lens:
            variables["logit_lens"] = (dims, lens_token)
            variables["logit_lens_probability"] = (dims, lens_probability)
        names = {r.prompt: r.text for r in readings}
        coords: dict[str, Any] = {
            "prompt": [names[p] for p in prompts],
            "prompt_index": ("prompt", prompts),
        }
        if vectors:
            coords["target_layer"] = targets
        else:
            variables["token"] = (["prompt", "position"], token)
            variables["token_index"] = (["prompt", "position"], index)
            alone = len(prompts) == 1
            coords["position"] = index[0].tolist() if alone else slots
            coords["source_layer"] = sources
            if grid:
                coords["target_layer"] = targets
            else:
                own = {r.source_layer: r.target_layer for r in readings}
                coords["target_layer"] = ("source_layer", [own[s] for s in sources])
        return cls(xr.Dataset(variables, coords), **rest)

    @classmethod
    @checks.door(PatchError, results=checks.listed)
    def together(cls, results: Sequence[Self]) -> Self:
        """One result of several, as if all prompts had been inspected in one call.

        Args:
            results: of one patchscope and the same models, at the same layers.

        Raises:
            PatchError: other patchscopes, layers or numbers of tokens to generate.
            BasisError: other models.

        Example:
            >>> scope = ls.Patchscope.token_identity()
            >>> each = [scope.inspect(model, p, layers=[20]) for p in ("Paris", "in Rome")]
            >>> ls.PatchscopeResult.together(each)
            PatchscopeResult(prompt: 2, position: 1, source_layer: 1; SmolLM2...)
        """
        same = ("inspection", "placeholder", "inspection_tokens", "settings")
        found = of_one_kind(results, cls, PatchError, same)
        data = joined([one.data for one in found], "prompt", PatchError)
        if "token" not in data:  # of vectors: what has no name has its number
            each = zip(data["prompt"].values, data["prompt_index"].values, strict=True)
            names = [f"vector {n}" if _UNNAMED.fullmatch(str(t)) else t for t, n in each]
            data = data.assign_coords(prompt=names)
        return replace(
            found[0],
            data=data,
            plan=" | ".join(distinct([[one.plan] for one in found])),
            source=one_provenance([one.source for one in found]),
            target=one_provenance([one.target for one in found], prompts=False),
            notes=distinct([one.notes for one in found]),
        )

    def frame(self) -> pd.DataFrame:
        """One line a cell, with the columns of `FRAME_COLUMNS`; the logit lens' two are NaN where
        states are not of the residual stream."""
        return self._everything().reindex(columns=list(FRAME_COLUMNS))

    def _everything(self) -> pd.DataFrame:
        # by number, for two prompts may have the same text
        numbered = self.data.assign_coords(prompt=self.data["prompt_index"].values)
        frame = numbered.drop_vars("prompt_index").to_dataframe().reset_index()
        texts = dict(enumerate(self.data["prompt"].values))
        index = {int(n): texts[i] for i, n in enumerate(self.data["prompt_index"].values)}
        frame = frame.assign(prompt_index=frame["prompt"], prompt=frame["prompt"].map(index))
        if "source_layer" not in frame:
            frame = frame.assign(source_layer=pd.NA, token_index=pd.NA, token="")
        if "token_index" in self.data:
            frame = frame[frame["token_index"] >= 0]
        frame = frame.assign(position=frame["token_index"])
        for column in ("source_layer", "target_layer", "position"):
            frame[column] = frame[column].astype("Int64")
        return frame.reset_index(drop=True)

    # ---------------------------------------------------------------- showing

    @property
    def title(self) -> str:
        """What was read, and in whose words it is said."""
        prompts = self.data["prompt"].values
        several = "prompts" if "position" in self.data.dims else "vectors"
        of = short(str(prompts[0]), 60) if len(prompts) == 1 else f"{len(prompts)} {several}"
        return f"{of}, in the words of {self.target.model}"

    def plot(self) -> go.Figure:
        """A plotly figure: layers by tokens, or source by target layers; the text in each cell."""
        return to_plotly(self._panels(), "p(first token)")

    def section(self) -> str:
        """What it says, as a piece of HTML."""
        return patchscope_section(
            self._everything(),
            inspection=self.inspection,
            placeholder=self.placeholder,
            source=self.source.model,
            target=self.target.model,
            plan=self.plan,
            notes=self.notes,
        )

    def _svg(self) -> str:
        return to_svg(self._panels(), "p(first token)")

    def _panels(self) -> list[Panel]:
        crossed = {"source_layer", "target_layer"} <= set(self.data.dims)
        return patchscope_panels(self._everything(), crossed=crossed)

    def _json(self) -> str:
        rows = records(self._everything())
        return json_text(
            {
                "inspection": self.inspection,
                "placeholder": self.placeholder,
                "notes": self.notes,
                "inspection_tokens": self.inspection_tokens,
                "plan": self.plan,
                "settings": dict(self.settings),
                "source": asdict(self.source),
                "target": asdict(self.target),
                "cells": [{k: row[k] for k in FRAME_COLUMNS if k in row} for row in rows],
            },
        )

    def table(self) -> Table:
        """A table for the terminal."""
        frame = self._everything()
        columns = {
            "prompt": "prompt",
            "position": "position",
            "token": "token",
            "source_layer": "layer",
            "target_layer": "written at",
            "logit_lens": "logit lens",
            "text": "patchscope",
        }
        one = [c for c in ("prompt", "token", "position") if frame[c].nunique() <= 1]
        if frame.drop_duplicates("position")["token"].is_unique:
            one.append("position")  # the token says it
        if frame["source_layer"].isna().all():
            one.append("source_layer")
        elif (frame["source_layer"] == frame["target_layer"]).all():
            one.append("target_layer")
        shown = [c for c in columns if c in frame and c not in one]
        first = frame.iloc[0]
        title = visible(str(first["prompt"]))
        if "token" in one and first["token"]:
            title += f"  [{short(first['token'], 60)}]"
        rows = [
            [(visible if c in _SAID else str)(str(row[c])) for c in shown]
            for _, row in frame.head(_ROWS_SHOWN).iterrows()
        ]
        if len(frame) > _ROWS_SHOWN:
            rows.append(["…"] * len(shown))
        return table_of(
            title if "prompt" in one else "patchscope",
            [columns[c] for c in shown],
            rows,
            caption=f"inspection prompt: …{self.inspection[-60:]!r}",
            notes=self.notes,
            numbers=[n for n, c in enumerate(shown) if c.endswith("layer")],
        )

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}: {size}" for name, size in self.data.sizes.items())
        return f"PatchscopeResult({sizes}; {self.source.model} -> {self.target.model})"
