"""What came out of a run: logits, a cache, tokens and text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.cache import Cache
from lensscope.prompts import TokenizedPrompt
from lensscope.provenance import Provenance

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Run:
    """One forward over one or several prompts.

    Attributes:
        logits: ``[prompt, position, d_vocab]``, index ``i`` for token ``i`` of the unpadded prompt;
            NaN beyond the end of a shorter prompt.
        cache: the sites that were asked for.
        prompts: what was run, token by token.
        provenance: of the model.
    """

    logits: Float[Tensor, "prompt position d_vocab"]
    cache: Cache
    prompts: tuple[TokenizedPrompt, ...]
    provenance: Provenance

    @property
    def tokens(self) -> tuple[tuple[str, ...], ...]:
        """The tokens of each prompt, as text, BOS included where it was run."""
        return tuple(prompt.labels for prompt in self.prompts)

    @property
    def last_logits(self) -> Float[Tensor, "prompt d_vocab"]:
        """Logits at the last token of each prompt."""
        return torch.stack(
            [row[len(p) - 1] for row, p in zip(self.logits, self.prompts, strict=True)]
        )

    def __repr__(self) -> str:
        return f"Run({_shown(self.prompts)}; logits {tuple(self.logits.shape)}; {self.cache!r})"


@dataclass(frozen=True, eq=False)
class Generation:
    """What a model went on to write, without the prompt.

    Attributes:
        token_ids: new tokens of each row, the one that ended the text included.
        texts: the same as text, without special tokens.
        labels: each new token as text.
        first_logits: ``[row, d_vocab]``: logits of the first new token.
        prompts: what was run.
        provenance: of the model.
    """

    token_ids: tuple[tuple[int, ...], ...]
    texts: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    first_logits: Float[Tensor, "row d_vocab"]
    prompts: tuple[TokenizedPrompt, ...]
    provenance: Provenance
    single: bool = False

    @property
    def text(self) -> Any:
        """The new text: a string for one prompt, a list of strings for a list of prompts."""
        return self.texts[0] if self.single else list(self.texts)

    @property
    def tokens(self) -> Any:
        """The new token ids: a list for one prompt, a list of lists for a list of prompts."""
        rows = [list(row) for row in self.token_ids]
        return rows[0] if self.single else rows

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        return "\n".join(
            f"{_shown([prompt])} -> {text!r}"
            for prompt, text in zip(self.prompts, self.texts, strict=True)
        )


@dataclass(frozen=True)
class Plan:
    """What a sweep did, in numbers.

    Attributes:
        rows: patched runs that were asked for.
        chunks: rows of each batch, in order.
        shared_prefix: tokens before the earliest write, run once for all rows.
        prompt_tokens: length of the longest prompt.
        token_layers: tokens run through a block, summed over blocks; new tokens not counted.
        plain_token_layers: the same with one whole forward for each row.
        apart: why rows were run side by side from the first layer on; empty if they joined at
            their layer.
    """

    rows: int
    chunks: tuple[int, ...]
    shared_prefix: int
    prompt_tokens: int
    token_layers: int
    plain_token_layers: int
    apart: str

    def __str__(self) -> str:
        sizes = "/".join(str(n) for n in sorted(set(self.chunks), reverse=True))
        return (
            f"{self.rows} rows in {len(self.chunks)} batch(es) of {sizes}; "
            f"{self.shared_prefix} of {self.prompt_tokens} tokens run once for all; "
            + (f"side by side, for {self.apart}; " if self.apart else "each joins at its layer; ")
            + f"{self.token_layers:,} token-layers of {self.plain_token_layers:,}"
        )


@dataclass(frozen=True, eq=False)
class Runs:
    """Many patched runs of one prompt, in the order the patch lists were given.

    Attributes:
        labels: one for each row.
        logits: ``[row, position, d_vocab]`` at the positions asked for; ``None`` if none were.
        cache: the sites asked for; its prompts are the rows.
        generation: new tokens, if any were asked for.
        plan: what was done.
        provenance: of the model.
    """

    labels: tuple[Any, ...]
    logits: Float[Tensor, "row position d_vocab"] | None
    cache: Cache
    generation: Generation | None
    plan: Plan
    provenance: Provenance

    def __len__(self) -> int:
        return len(self.labels)

    def frame(self) -> pd.DataFrame:
        """One line a row: label, most probable next token id and its probability, new text."""
        import pandas as pd

        columns: dict[str, Any] = {"row": list(self.labels)}
        if self.logits is not None:
            asked = (~self.logits[..., 0].isnan()).sum(1) - 1  # the last one, before any padding
            last = self.logits[torch.arange(len(self.logits)), asked]
            best = last.float().softmax(-1).max(-1)
            columns["first_token_id"] = best.indices.tolist()
            columns["first_token_probability"] = best.values.tolist()
        if self.generation is not None:
            columns["text"] = list(self.generation.texts)
        return pd.DataFrame(columns)

    def __repr__(self) -> str:
        return f"Runs({self.plan})"


def _shown(prompts: Sequence[TokenizedPrompt]) -> str:
    shown = ["|".join(prompt.labels) for prompt in prompts[:3]]
    return ", ".join(shown + ["…"] * (len(prompts) > 3)).replace("\n", "⏎")
