"""`capture`, `run`, `generate` and `run_many`: plan, then execute.

Each is a few lines over `_Execution`, the only place in the package that runs a model. What it
does with a set of rows (prompts with their patches):

1. cut them into chunks under a memory budget;
2. run the tokens before the earliest write once and share their keys and values;
3. run the rest as rows of a batch, with the patches and reads of `lensscope.batch`;
4. decode; rows that are finished leave the batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensscope.backend import Backend, KeyValues, StopForward, backend_of
from lensscope.batch import Batch, PaddingSide, Reader, Row, check_reached, hooks_for, resolve_row
from lensscope.cache import Cache
from lensscope.errors import BudgetError, PatchError, PromptError
from lensscope.patches import Move, Patch
from lensscope.positions import PositionLike, resolve
from lensscope.progress import progress
from lensscope.prompts import PromptsLike, TokenizedPrompt, is_single, labels_of, text_of, tokenize
from lensscope.runs import Generation, Plan, Run, Runs
from lensscope.sampling import Sampling
from lensscope.sites import Site

SitesLike: TypeAlias = Site | Sequence[Site]
PatchLike: TypeAlias = Patch | Move


def capture(
    model: Any,
    prompts: PromptsLike,
    sites: SitesLike,
    *,
    prepend_bos: bool | None = None,
    padding_side: PaddingSide = "right",
    memory_budget: int | None = None,
) -> Cache:
    """Run prompts and keep what some sites held, and nothing else.

    The forward ends as soon as the last of the sites has been read; no logits are computed.

    Args:
        model: a ``HookedTransformer`` or ``TransformerBridge``.
        prompts: a string, a list of strings, or token ids.
        sites: one or several; a site without a layer means every layer.
        prepend_bos: ``None`` follows the model's own default.
        padding_side: how prompts of different lengths are laid out; it changes no result.
        memory_budget: bytes that a batch may take.

    Returns:
        A `Cache`; ``cache[site]`` is ``[prompt, position, …]``.

    Raises:
        SiteError, PositionError, PromptError, ModelError: see there.

    Example:
        >>> cache = ls.capture(model, "The Eiffel Tower", ls.resid_post(3))
        >>> cache[ls.resid_post(3).at(-1)].shape
        torch.Size([1, 1, 576])
    """
    backend = backend_of(model)
    rows = [Row(prompt) for prompt in tokenize(backend, prompts, prepend_bos)]
    execution = _Execution(backend, rows, as_sites(sites), padding_side, memory_budget)
    with progress(len(rows), "capture", "prompt") as bar:
        execution.run(logits_at=None, bar=bar)
    return execution.cache()


def run(
    model: Any,
    prompt: PromptsLike,
    patches: Sequence[PatchLike] = (),
    keep: SitesLike = (),
    *,
    source: PromptsLike | Cache | None = None,
    prepend_bos: bool | None = None,
    padding_side: PaddingSide = "right",
    memory_budget: int | None = None,
) -> Run:
    """One forward over one or several prompts, patched.

    Args:
        model: a ``HookedTransformer`` or ``TransformerBridge``.
        prompt: a string, a list of strings, or token ids. Every prompt gets the same patches, at
            positions resolved on that prompt.
        patches: in the order in which they act; a `Move` reads its value from ``source``.
        keep: sites to keep, as they are after the patches.
        source: a prompt (as many as there are prompts, or one) or a `Cache` that moves read from;
            by default the prompt itself, unpatched.
        prepend_bos: ``None`` follows the model's own default.
        padding_side: how prompts of different lengths are laid out; it changes no result.
        memory_budget: bytes that a batch may take.

    Raises:
        SiteError, PositionError, PromptError, PatchError, ModelError: see there.

    Example:
        >>> run = ls.run(model, "The Eiffel Tower is in", [ls.resid_post(3).at("Tower").zero()])
        >>> run.logits.shape
        torch.Size([1, 7, 49152])
    """
    backend = backend_of(model)
    prompts = tokenize(backend, prompt, prepend_bos)
    rows = _rows(backend, prompts, [patches] * len(prompts), source, prepend_bos)
    execution = _Execution(backend, rows, as_sites(keep), padding_side, memory_budget)
    execution.run(logits_at=[range(len(p)) for p in prompts])
    return Run(execution.logits(), execution.cache(), tuple(prompts), execution.provenance)


def generate(
    model: Any,
    prompt: PromptsLike,
    patches: Sequence[PatchLike] = (),
    max_new_tokens: int = 20,
    *,
    source: PromptsLike | Cache | None = None,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    stop_at_eos: bool = True,
    use_cache: bool = True,
    prepend_bos: bool | None = None,
    memory_budget: int | None = None,
) -> Generation:
    """Let a patched model go on writing.

    A patch acts on the tokens it names when they are first processed; with
    ``when="every_step"`` also on every new token. Prompts of different lengths are padded on the
    left, masked, and give what each would give alone.

    Args:
        model: a ``HookedTransformer`` or ``TransformerBridge``.
        prompt: a string, a list of strings, or token ids.
        patches: in the order in which they act.
        max_new_tokens: at most this many new tokens.
        source: what a `Move` reads from; by default the prompt itself, unpatched.
        temperature: 0 is greedy; above, tokens are drawn, which needs a ``seed``.
        top_k: draw among this many most probable tokens.
        top_p: draw among the fewest tokens that together have this probability.
        seed: of the draws; each prompt draws as it would alone.
        stop_at_eos: end a text at the model's end-of-text token.
        use_cache: keep keys and values between steps; without, each step runs everything again.
        prepend_bos: ``None`` follows the model's own default.
        memory_budget: bytes that a batch may take.

    Raises:
        PromptError: prompt and new tokens do not fit into the context.
        SiteError, PositionError, PatchError, ModelError: see there.

    Example:
        >>> ls.generate(model, "The capital of Japan is the city of", max_new_tokens=1).text
        ' Tokyo'
    """
    backend = backend_of(model)
    prompts = tokenize(backend, prompt, prepend_bos)
    rows = _rows(backend, prompts, [patches] * len(prompts), source, prepend_bos)
    sampling = Sampling(max_new_tokens, temperature, top_k, top_p, seed, stop_at_eos, use_cache)
    execution = _Execution(backend, rows, [], "left", memory_budget)
    with progress(len(rows) * max_new_tokens, "generate", "token") as bar:
        execution.run(logits_at=[[len(p) - 1] for p in prompts], sampling=sampling, bar=bar)
    return execution.generation(single=is_single(prompt))


def run_many(
    model: Any,
    prompt: PromptsLike,
    patchsets: Iterable[Sequence[PatchLike]],
    *,
    positions: PositionLike | None = -1,
    keep: SitesLike = (),
    max_new_tokens: int = 0,
    source: PromptsLike | Cache | None = None,
    labels: Sequence[Any] | None = None,
    prepend_bos: bool | None = None,
    memory_budget: int | None = None,
    **sampling: Any,
) -> Runs:
    """Run one prompt under many lists of patches: the engine of every sweep.

    Each row equals what `run` or `generate` gives for its patches alone.

    Args:
        model: a ``HookedTransformer`` or ``TransformerBridge``.
        prompt: one prompt for all rows, or a list with one for each row.
        patchsets: one list of patches for each row.
        positions: where logits are wanted; ``None`` for none.
        keep: sites to keep, as they are after the patches.
        max_new_tokens: new tokens to generate for each row.
        source: what a `Move` reads from; by default the prompt itself, unpatched.
        labels: names of the rows; their numbers by default.
        prepend_bos: ``None`` follows the model's own default.
        memory_budget: bytes that a batch may take; rows are cut into chunks to keep to it.
        **sampling: as in `generate`: ``temperature``, ``top_k``, ``top_p``, ``seed``,
            ``stop_at_eos``.

    Raises:
        BudgetError: not even one row fits into the budget.
        SiteError, PositionError, PromptError, PatchError, ModelError: see there.

    Example:
        >>> out = ls.run_many(model, "The Eiffel Tower is in", [[], [ls.resid_post(3).at(2).zero()]])
        >>> out.logits.shape
        torch.Size([2, 1, 49152])
    """
    backend = backend_of(model)
    sets = [_as_list(patches) for patches in patchsets]
    names = tuple(range(len(sets)) if labels is None else labels)
    if not sets or len(names) != len(sets):
        raise PatchError(
            "There is not one label for each list of patches.",
            got=f"{len(sets)} lists, {len(names)} labels",
            expected="at least one list, and as many labels as lists",
            instead="ls.run_many(model, prompt, [[patch], [other]])",
        )
    prompts = tokenize(backend, prompt, prepend_bos)
    if len(prompts) == 1:
        prompts = prompts * len(sets)
    if len(prompts) != len(sets):
        raise PromptError(
            "There is not one prompt for each list of patches.",
            got=f"{len(prompts)} prompts, {len(sets)} lists",
            expected="one prompt for all, or as many as lists",
            instead="ls.run_many(model, prompt, patchsets)",
        )
    rows = _rows(backend, prompts, sets, source, prepend_bos)
    if positions is not None:
        logits_at: list[Sequence[int]] | None = [resolve(positions, p) for p in prompts]
    else:
        logits_at = [[len(p) - 1] for p in prompts] if max_new_tokens else None
    execution = _Execution(backend, rows, as_sites(keep), "left", memory_budget)
    decoding = Sampling(max_new_tokens, **sampling) if max_new_tokens or sampling else None
    with progress(len(rows) * (1 + max_new_tokens), "run_many", "row") as bar:
        execution.run(logits_at=logits_at, sampling=decoding, bar=bar)
    return Runs(
        names,
        execution.logits() if positions is not None else None,
        execution.cache(),
        execution.generation() if max_new_tokens else None,
        execution.plan,
        execution.provenance,
    )


def as_sites(sites: SitesLike) -> list[Site]:
    """A list of sites from one or several."""
    return [sites] if isinstance(sites, Site) else list(sites)


# -------------------------------------------------------------------- planning


def _rows(
    backend: Backend,
    prompts: Sequence[TokenizedPrompt],
    patchsets: Sequence[Sequence[PatchLike]],
    source: PromptsLike | Cache | None,
    prepend_bos: bool | None,
) -> list[Row]:
    """Prompts and patches as rows, the moves among the patches read first."""
    patchsets = [_as_list(patches) for patches in patchsets]
    reads = {m.read: None for patches in patchsets for m in patches if isinstance(m, Move)}
    if not reads:
        return [resolve_row(backend, p, s) for p, s in zip(prompts, patchsets, strict=True)]
    unique = list(dict.fromkeys(prompts))
    if isinstance(source, Cache):
        cache = source
        cache.provenance.check_basis(backend.provenance(), "The cache that a move reads from")
    else:
        texts = unique if source is None else source
        cache = capture(backend.model, texts, list(reads), prepend_bos=prepend_bos)
    rows = []
    for n, (prompt, patches) in enumerate(zip(prompts, patchsets, strict=True)):
        at = unique.index(prompt) if source is None else n if len(cache.prompts) > 1 else 0
        if at >= len(cache.prompts):
            raise PromptError(
                "There is not one source for each prompt.",
                got=f"{len(cache.prompts)} sources, {len(prompts)} prompts",
                expected="one source, or as many as prompts",
                instead="source=[…] with one prompt for each",
            )
        bound = [p.patch(cache, at) if isinstance(p, Move) else p for p in patches]
        rows.append(resolve_row(backend, prompt, bound))
    return rows


def _as_list(patches: Sequence[PatchLike]) -> list[PatchLike]:
    if isinstance(patches, Patch | Move):
        raise PatchError(
            "A single patch stands where a list of patches belongs.",
            got=repr(patches),
            expected="a list of patches",
            instead=f"[{patches!r}]",
        )
    return list(patches)


def default_budget(device: torch.device) -> int:
    """Bytes that a batch may take: a quarter of what is free, at most 2 GiB on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0]) // 2
    import psutil

    return min(2 << 30, int(psutil.virtual_memory().available) // 4)


@dataclass(eq=False)
class _Execution:
    """Rows on their way through a model, and what they leave behind."""

    backend: Backend
    rows: list[Row]
    keep: list[Site]
    side: PaddingSide
    memory_budget: int | None
    plan: Plan = field(init=False)

    def __post_init__(self) -> None:
        prompts = [row.prompt for row in self.rows]
        self.reader = Reader(self.backend, self.keep, prompts)
        self.provenance = self.backend.provenance([p.ids for p in prompts])
        self._logits: list[Tensor | None] = [None] * len(self.rows)
        self._first: list[Tensor | None] = [None] * len(self.rows)
        self._new: list[list[int]] = [[] for _ in self.rows]
        self._shared: KeyValues | None = None

    def run(
        self,
        *,
        logits_at: Sequence[Sequence[int]] | None,
        sampling: Sampling | None = None,
        bar: Any = None,
    ) -> None:
        """Run all rows.

        Args:
            logits_at: the tokens of each row whose logits are kept; ``None`` for none.
            sampling: how to go on writing, if at all.
            bar: a progress bar.
        """
        new = sampling.max_new_tokens if sampling is not None else 0
        prompts = [row.prompt for row in self.rows]
        self._check_context(prompts, new)
        prefix = self._shared_prefix(logits_at, sampling)
        # By length, so that prompts of one batch need little padding.
        order = sorted(range(len(self.rows)), key=lambda i: (len(prompts[i]), i))
        size = self._chunk_size(prefix, new, logits_at)
        chunks = [order[i : i + size] for i in range(0, len(order), size)]
        longest = max(map(len, prompts))
        self.plan = Plan(len(self.rows), tuple(map(len, chunks)), prefix, longest)
        with torch.no_grad():
            for chunk in chunks:
                self._run_chunk(chunk, prefix, logits_at, sampling, bar)

    def _check_context(self, prompts: Sequence[TokenizedPrompt], new: int) -> None:
        longest = max(map(len, prompts)) + max(0, new - 1)
        if self.backend.n_ctx is not None and longest > self.backend.n_ctx:
            raise PromptError(
                "Prompt and new tokens do not fit into the model's context.",
                got=f"{max(map(len, prompts))} tokens and {new} new ones",
                expected=f"at most {self.backend.n_ctx} together",
                instead="a smaller max_new_tokens, or a shorter prompt",
            )

    def _shared_prefix(
        self, logits_at: Sequence[Sequence[int]] | None, sampling: Sampling | None
    ) -> int:
        """How many tokens all rows have in common before anything is written or asked for."""
        same = all(row.prompt.ids == self.rows[0].prompt.ids for row in self.rows)
        if not same or self.keep or (sampling is not None and not sampling.use_cache):
            return 0
        first = min(row.first_written for row in self.rows)
        asked = [t for tokens in logits_at or () for t in tokens]
        prefix = min([first, *asked, len(self.rows[0].prompt) - 1])
        return prefix if len(self.rows) > 1 else 0

    def _chunk_size(self, prefix: int, new: int, logits_at: Sequence[Sequence[int]] | None) -> int:
        """Rows of a batch under the memory budget, by an upper estimate of what a row takes."""
        b = self.backend
        width = max(len(row.prompt) for row in self.rows)
        columns = width - prefix
        d_mlp = int(getattr(b.model.cfg, "d_mlp", None) or 4 * b.d_model)
        cached = 2 * b.n_layers * b.n_kv_heads * b.d_head * (width + new) if new or prefix else 0
        # A forward holds the residual, a norm, and either an MLP or the scores of one attention.
        working = columns * (8 * b.d_model + 4 * d_mlp + 4 * b.n_heads * width)
        asked = max((len(tokens) for tokens in logits_at), default=0) if logits_at else 0
        logits = 3 * asked * b.d_vocab
        row_bytes = (cached + working + logits) * b.dtype.itemsize
        budget = default_budget(b.device) if self.memory_budget is None else self.memory_budget
        if budget < row_bytes:
            if self.memory_budget is None:
                return 1
            raise BudgetError(
                "The memory budget does not hold a single row.",
                got=f"{budget:,} bytes",
                expected=f"at least {row_bytes:,} bytes",
                instead=f"memory_budget={row_bytes}",
            )
        return int(min(budget // row_bytes, 4096))

    # ---------------------------------------------------------------- executing

    def _run_chunk(
        self,
        chunk: list[int],
        prefix: int,
        logits_at: Sequence[Sequence[int]] | None,
        sampling: Sampling | None,
        bar: Any,
    ) -> None:
        batch = Batch([self.rows[i] for i in chunk], self.side)
        tokens, mask = batch.tokens(self.backend), batch.mask(self.backend)
        cached = sampling is not None and sampling.use_cache
        key_values = self._prefix_key_values(tokens, prefix, len(chunk)) if prefix else None
        if key_values is None and cached:
            key_values = self.backend.new_key_values(len(chunk))
        batch.start = prefix
        wanted = [
            sorted({batch.pads[b] + t - prefix for t in logits_at[i]}) if logits_at else []
            for b, i in enumerate(chunk)
        ]
        columns = sorted({c for row in wanted for c in row})
        logits = self._forward(batch, tokens[:, prefix:], mask, key_values, columns, chunk)
        for b, i in enumerate(chunk):
            if wanted[b]:
                assert logits is not None
                every = wanted[b] == columns
                at = slice(None) if every else [columns.index(c) for c in wanted[b]]
                self._logits[i] = logits[b, at]
        if bar is not None:
            bar.update(len(chunk))
        if sampling is not None and sampling.max_new_tokens:
            assert logits is not None
            last = torch.stack([logits[b, columns.index(w[-1])] for b, w in enumerate(wanted)])
            self._decode(batch, chunk, last, tokens, mask, key_values, sampling, bar)

    def _prefix_key_values(self, tokens: Tensor, prefix: int, rows: int) -> KeyValues:
        """Keys and values of the shared tokens, run once and handed to every chunk."""
        if self._shared is None:
            self._shared = self.backend.new_key_values(1)
            self.backend.forward(tokens[:1, :prefix], key_values=self._shared, logits_at=[0])
        return self._shared.repeat(rows)

    def _forward(
        self,
        batch: Batch,
        tokens: Int[Tensor, "row pos"],
        mask: Int[Tensor, "row all"] | None,
        key_values: KeyValues | None,
        columns: Sequence[int],
        chunk: Sequence[int],
    ) -> Float[Tensor, "row asked d_vocab"] | None:
        """One patched pass over the prompts; ``None`` if it ended before the logits."""
        reader = self.reader if self.keep else None
        stop_early = not columns and key_values is None
        hooks = hooks_for(self.backend, batch, reader, stop_early=stop_early)
        self.reader.begin(chunk)
        logits: Tensor | None = None
        with self.backend.attached(hooks):
            try:
                logits = self.backend.forward(
                    tokens, mask=mask, key_values=key_values, logits_at=columns or [0]
                )
            except StopForward:
                pass
        written = {w.place for row in batch.rows for w in row.writes}
        read = {(s.kind, s.layer) for s in self.reader.sites}
        seen = {(s.kind, s.layer) for s in self.reader.read}
        check_reached(written | read, batch.reached | seen)
        return logits

    def _decode(
        self,
        batch: Batch,
        chunk: Sequence[int],
        logits: Float[Tensor, "row d_vocab"],
        tokens: Int[Tensor, "row pos"],
        mask: Int[Tensor, "row pos"] | None,
        key_values: KeyValues | None,
        sampling: Sampling,
        bar: Any,
    ) -> None:
        """Write on, one token a step, until every row has ended."""
        eos = self.backend.eos_ids() if sampling.stop_at_eos else frozenset()
        active = list(chunk)
        for b, i in enumerate(active):
            self._first[i] = logits[b]
        generators = sampling.generators(chunk)
        again = key_values is None or any(
            w.when == "every_step" for row in batch.rows for w in row.writes
        )
        with self.backend.attached(hooks_for(self.backend, batch) if again else {}):
            for step in range(sampling.max_new_tokens):
                chosen = sampling.choose(logits, [generators[i] for i in active])
                for token, i in zip(chosen, active, strict=True):
                    self._new[i].append(token)
                if bar is not None:
                    bar.update(len(active))
                going = [b for b, token in enumerate(chosen) if token not in eos]
                if not going or step + 1 == sampling.max_new_tokens:
                    return
                if len(going) < len(active):
                    active = [active[b] for b in going]
                    chosen = [chosen[b] for b in going]
                    tokens = tokens[going]
                    mask = None if mask is None else mask[going]
                    batch.keep(going)
                    if key_values is not None:
                        key_values.select(going)
                new = torch.tensor(chosen, device=tokens.device)[:, None]
                tokens = torch.cat([tokens, new], dim=1)
                if mask is not None:
                    mask = torch.cat([mask, torch.ones_like(new)], dim=1)
                if key_values is not None:
                    batch.start = tokens.shape[1] - 1
                    fed, at = new, 0
                else:
                    fed, at = tokens, tokens.shape[1] - 1
                logits = self.backend.forward(
                    fed, mask=mask, key_values=key_values, logits_at=[at]
                )[:, 0]

    # ---------------------------------------------------------------- results

    def logits(self) -> Float[Tensor, "row position d_vocab"]:
        """What was asked for, as one tensor; NaN where a row has fewer positions."""
        rows = [row for row in self._logits if row is not None]
        width = max(len(row) for row in rows)
        if any(len(row) < width for row in rows):
            fill = torch.full((width, rows[0].shape[-1]), torch.nan).to(rows[0])
            rows = [torch.cat([row, fill[len(row) :]]) for row in rows]
        return torch.stack(rows)

    def cache(self) -> Cache:
        """The sites that were kept."""
        return Cache(self.reader.entries(), [row.prompt for row in self.rows], self.provenance)

    def generation(self, *, single: bool = False) -> Generation:
        """The new tokens of all rows."""
        first = [row for row in self._first if row is not None]
        return Generation(
            tuple(tuple(row) for row in self._new),
            tuple(text_of(self.backend, row) for row in self._new),
            tuple(labels_of(self.backend, row) for row in self._new),
            torch.stack(first),
            tuple(row.prompt for row in self.rows),
            self.provenance,
            single,
        )
