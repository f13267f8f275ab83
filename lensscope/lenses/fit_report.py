"""What fitting a lens gave."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from lensscope.errors import LensError
from lensscope.lenses.linear import LinearLens
from lensscope.lenses.scores import SCORES
from lensscope.show.lines import Chart, Line, to_svg
from lensscope.show.pages import rendered
from lensscope.show.showing import Shown
from lensscope.show.terminal import table_of
from lensscope.store.json_text import json_text, records

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table


_WHEN: Final = ("before", "after")


@dataclass(frozen=True, eq=False)
class FitReport(Shown):
    """How a lens was fitted, and of a tuned lens what it gives on held-out text.

    Attributes:
        lens: the lens.
        elsewhere: its scores on texts of another kind, as `LinearLens.scores` gives them.
    """

    lens: LinearLens
    elsewhere: pd.DataFrame | None = None

    @property
    def title(self) -> str:
        """What was fitted."""
        return f"{self.lens.name[:1].upper()}{self.lens.name[1:]}: the fit"

    @property
    def scores(self) -> pd.DataFrame | None:
        """By site, before and after, where it was measured."""
        if "kl_before" not in self.lens.history:
            return None
        return self.lens.scores()

    @property
    def _measured(self) -> list[pd.DataFrame]:
        """All scores that there are, a frame for each corpus."""
        return [found for found in (self.scores, self.elsewhere) if found is not None]

    def frame(self) -> pd.DataFrame:
        """The scores, a line a site and corpus; of a lens of which nothing was measured, how it was
        fitted."""
        import pandas as pd

        if self._measured:
            return pd.concat(self._measured, ignore_index=True)
        return pd.DataFrame(list(self.lens.settings.items()), columns=["setting", "value"])

    def table(self) -> Table:
        """Divergence and cross-entropy by site and corpus; or how it was fitted."""
        measured = self._measured
        if not measured:
            settings = [(name, str(value)) for name, value in self.lens.settings.items()]
            return table_of(self.title, ["setting", "value"], settings)
        lines = [
            "KL of the final distribution from the lens', and cross-entropy of the next token, "
            "nats; before: the logit lens."
        ]
        rows: list[list[str] | None] = []
        for n, scores in enumerate(measured):
            which = f"{n + 1}: " if len(measured) > 1 else ""
            lines.append(which + self._summary(scores))
            rows.append(None)
            for _, row in scores.iterrows():
                rows.append([which + row["site"], *(f"{row[c]:.3f}" for c in SCORES)])
        columns = [name.replace("_", " ") for name in ("site", *SCORES)]
        numbers = range(len(columns))
        return table_of(self.title, columns, rows, notes=lines, numbers=numbers)

    @staticmethod
    def _summary(scores: pd.DataFrame) -> str:
        """What texts scores are of, and where the lens is the better one."""
        lower = int((scores["kl_after"] < scores["kl_before"]).sum())
        return f"{scores['corpus'].iloc[0]}. Lower KL at {lower} of {len(scores)} sites."

    def section(self) -> str:
        """The chart, and a table for each corpus."""
        measured = self._measured
        return rendered(
            "fit.html",
            lens=repr(self.lens),
            settings=json_text(dict(self.lens.settings), indent=None),
            chart=self._svg() if measured else "",
            scores=SCORES,
            corpora=[(self._summary(s), s.to_dict("records")) for s in measured],
        )

    def _svg(self) -> str:
        if not self._measured:
            raise LensError(
                "There is no picture of this fit.",
                got=f"a {self.lens.name}, of which nothing was measured",
                expected="a tuned lens that was trained here",
                instead="ls.compare(model, prompts, [ls.LogitLens(), lens]).to_svg()",
            )
        scores = self._measured[0]
        sites = list(self.lens.translators)
        kinds = list(dict.fromkeys(site.kind for site in sites))
        charts = []
        for name, title in (("kl", "KL (nats)"), ("ce", "cross-entropy (nats)")):
            lines = []
            for kind in kinds:
                own = [n for n, site in enumerate(sites) if site.kind == kind]
                before, after = ([scores[f"{name}_{w}"][n] for n in own] for w in _WHEN)
                first = _off_the_chart(before)
                if first:
                    title += f"; {sites[own[0]]!r}: {before[0]:.0f}, then {after[0]:.1f}"
                layers = tuple(sites[n].layer or 0 for n in own[first:])
                which = "" if len(kinds) == 1 else f", {kind}"
                lines.append(Line(f"before (logit lens){which}", layers, tuple(before[first:])))
                lines.append(Line(f"after{which}", layers, tuple(after[first:])))
            across = "input of block" if kinds == ["resid_pre"] else "layer"
            charts.append(Chart(title, across, title, tuple(lines)))
        return to_svg(*charts)

    def _json(self) -> str:
        value: dict[str, Any] = {
            "lens": type(self.lens).__name__,
            "settings": dict(self.lens.settings),
            "provenance": asdict(self.lens.origin.provenance),
            "scores": [row for s in self._measured for row in records(s)],
        }
        return json_text(value)


def _off_the_chart(values: list[float]) -> int:
    """How many values at the start would flatten all others: an embedding, as the logit lens reads
    it."""
    return int(len(values) > 2 and values[0] > 3 * max(values[1:]))
