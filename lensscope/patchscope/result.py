"""Results with named axes: a dataset that also is a table, a frame, a picture, a page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

import pandas as pd
import xarray as xr

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
class PatchscopeResult(Shown, Lasting):
    """What a patchscope said of each state.

    Attributes:
        data: axes ``prompt``, ``position``, ``source_layer`` and, unless each source layer has its
            own target layer, ``target_layer``, and ``sample`` of several; variables ``text``,
            ``first_token``, ``first_token_probability``, ``token``, ``token_index`` and, for states
            of the residual stream, ``logit_lens`` and ``logit_lens_probability``. Raw vectors have
            the axes ``prompt`` (the vector) and ``target_layer``.
        inspection: the inspection prompt.
        placeholder: what marks the places that were written.
        inspection_tokens: the tokens that were run, BOS included where it was.
        plan: what the sweep did, in words.
        source: provenance of the states.
        target: provenance of the model that wrote.
        notes: what must be known of the states to read it right.
        settings: what else the patchscope says of how it is done.

    Example:
        >>> scope = ls.Patchscope.attribute("The largest city in x", max_new_tokens=3)
        >>> result = scope.inspect(model, "a flight to Japan", layers=[6], target_layers=[3])
        >>> result.data.text.sel(source_layer=6, target_layer=3).item()
        ', Tokyo,'
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
        sample = ["sample"] if "sample" in self.data.dims else []
        return self._everything().reindex(columns=[*FRAME_COLUMNS, *sample])

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
        rows, columns = records(self._everything()), (*FRAME_COLUMNS, "sample")
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
                "cells": [{k: row[k] for k in columns if k in row} for row in rows],
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
            "sample": "sample",
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
