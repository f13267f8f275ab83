"""What was tried of a model, what holds, and what follows from it, as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from lensscope.engine.join_trial import joins
from lensscope.model import trials
from lensscope.model.agreement import distance_of
from lensscope.model.backend import Backend
from lensscope.model.chat_templates import has_template
from lensscope.model.classes import backend_of
from lensscope.model.head import head
from lensscope.model.trying import Trial
from lensscope.show.showing import Tabled
from lensscope.store.lasting import Lasting
from lensscope.values.provenance import Provenance
from lensscope.values.site_kinds import KINDS

if TYPE_CHECKING:
    import pandas as pd


_VERDICTS: Final = {True: "holds", False: "fails", None: "open "}


@dataclass(frozen=True)
class Finding:
    """One thing that was tried.

    Attributes:
        trial: what.
        holds: whether it does what it should; ``None`` if that cannot be told.
        seen: the figure, or what went wrong.
        follows: what lensscope does about it.
    """

    trial: str
    holds: bool | None
    seen: str
    follows: str


@dataclass(frozen=True)
class Support(Tabled, Lasting):
    """What a model can do.

    Attributes:
        findings: one for each thing that was tried.
        provenance: of the model.

    Example:
        >>> ls.support(model).frame().columns.tolist()
        ['trial', 'holds', 'seen', 'follows']
    """

    made_of: ClassVar = (Finding, Provenance)

    findings: tuple[Finding, ...]
    provenance: Provenance

    def frame(self) -> pd.DataFrame:
        """One line a trial: ``trial``, ``holds``, ``seen``, ``follows``."""
        import pandas as pd

        return pd.DataFrame([vars(finding) for finding in self.findings])

    def __str__(self) -> str:
        p = self.provenance
        versions = ", ".join(f"{name} {version}" for name, version in p.versions.items())
        lines = [f"{p.model} ({p.backend}, {p.processing}, {p.dtype}); {versions}"]
        width = max(len(finding.trial) for finding in self.findings)
        for f in self.findings:
            lines.append(f"{_VERDICTS[f.holds]}  {f.trial:{width}}  {f.seen}")
            lines.append(f"{'':7}{'':{width}}  → {f.follows}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        fails = [f.trial for f in self.findings if f.holds is False]
        said = (
            f"{', '.join(fails[:4])}{' …' if len(fails) > 4 else ''} fail"
            if fails
            else "none fails"
        )
        return (
            f"Support({self.provenance.model}; {len(self.findings)} tried, {said}; print shows all)"
        )


def support(model: Any) -> Support:
    """Try out what a model can do, and say what follows for what lensscope does with it.

    Every function does these trials by itself, once a model, when it first needs one; what fails is
    done in the plain way or refused. Here all are done, and shown.

    Args:
        model: a ``HookedTransformer`` or ``TransformerBridge``.

    Returns:
        a `Support`: it prints as a table, and ``frame()`` has ``trial, holds, seen, follows``.

    Raises:
        ModelError: not such a model, or one that does not run.

    Example:
        >>> print(ls.support(model))
        SmolLM2-135M-Instruct (TransformerBridge, raw, float32); ...
        holds  a forward without a cache  ...
    """
    backend = backend_of(model)
    return Support(tuple(_findings(backend)), backend.provenance())


def _findings(backend: Backend) -> Iterator[Finding]:
    off = distance_of(backend.model)
    yield Finding(
        "Hugging Face's logits",
        None if off is None else True,
        "not compared" if off is None else f"{off:.2g} standard deviations apart",
        "ls.load_model compares them, and refuses what differs",
    )
    plain, _ = trials.plain(backend)
    yield _finding(plain, "used", "TransformerLens' default is used")
    cache, way = trials.key_value_cache(backend)
    how = "tokens are decoded after what came before; rows share a prefix; long prompts are read"
    how += " in stretches"
    if way.renamed:
        how += "; attention is handed the cache under the name that it knows"
    without = "every new token runs the whole text again, and rows share no prefix"
    yield _finding(cache, how, without)
    padding, _ = trials.padding(backend)
    yield _finding(padding, "prompts of different lengths share a batch", "they are run apart")
    change = _first_change(backend)
    yield Finding(
        "positions told alike at all lengths",
        not change,
        f"they change above {change - 1} tokens" if change else "up to the context's end",
        "prompts on two sides of the change are run apart, and a text that crosses it without a "
        "cache"
        if change
        else "no prompt is run apart for it",
    )
    yield _finding(joins(backend), "rows join at their layer", "each row is run from layer 0 on")
    head_trial = head(backend)
    yield _finding(head_trial, "lenses use them", "lenses go through the model's own forward")
    talks = has_template(backend.tokenizer)
    yield Finding(
        "a chat template",
        talks or None,
        "in the tokenizer" if talks else "none in the tokenizer",
        "ls.chat([…]) is written by it" if talks else "prompts are texts, and ls.chat is refused",
    )
    yield from _sites(backend)


def _first_change(backend: Backend) -> int:
    """The shortest prompt whose positions are told otherwise than those of shorter ones, or 0."""
    longest, first = backend.n_ctx or 2, backend.length_class(2)
    if backend.length_class(longest) == first:
        return 0
    return next(n for n in range(3, longest + 1) if backend.length_class(n) != first)


def _finding(trial: Trial, if_so: str, if_not: str) -> Finding:
    return Finding(trial.name, trial.holds, trial.seen, if_so if trial.holds else if_not)


def _sites(backend: Backend) -> Iterator[Finding]:
    survey, idle = trials.survey(backend), trials.idle(backend)
    for kind, what in KINDS.items():
        layers: Sequence[int | None] = range(backend.n_layers) if what.has_layer else [None]
        whys = {n: backend.why_not(kind, n) for n in layers}
        there = [n for n, why in whys.items() if not why]
        shapes = sorted({survey.layouts[kind, n].shape for n in there})
        seen = "; ".join(str(tuple("key" if d < 0 else d for d in s)) for s in shapes)
        limits = []
        if len(there) < len(whys):
            why = next(why for why in whys.values() if why)
            limits.append(f"refused at {_at(n for n in layers if n not in there)}: {why}")
        unused = [n for n in there if (kind, n) in idle]
        if unused:
            limits.append(f"not written at {_at(unused)}: {idle[kind, unused[0]]}")
        adds = kind in ("attn_out", "mlp_out", "resid_mid")
        apart = {n: survey.not_added.get(n or 0) for n in there if adds and n not in unused}
        apart = {n: why for n, why in apart.items() if why}
        if apart:
            limits.append(f"not written at {_at([*apart])}: {next(iter(apart.values()))}")
        yield Finding(
            kind, not limits, seen or "at no layer", "; ".join(limits) or "read and written"
        )
    if any(kind == "pattern" for kind, _ in survey.layouts):
        least = min(survey.sinks.values(), default=1.0)
        yield Finding(
            "patterns sum to 1",
            not survey.sinks,
            f"smallest sum {least:.3g}",
            "what a sink takes counts when keys are masked"
            if survey.sinks
            else "no sink is at work",
        )


def _at(layers: Iterator[int | None] | Sequence[int | None]) -> str:
    numbers = [str(n) for n in layers if n is not None]
    if len(numbers) > 6:
        numbers = [*numbers[:3], "…", numbers[-1]]
    return f"layer{'s' * (len(numbers) > 1)} {', '.join(numbers)}" if numbers else "this model"
