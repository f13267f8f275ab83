"""Where values come from, so that two models or two bases are never mixed by mistake."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.metadata import version
from typing import Any, Final

from lensscope.errors import BasisError

_ON_PURPOSE: Final = "Patchscope(…, model=target) to go from one model to another on purpose"


@dataclass(frozen=True)
class Provenance:
    """Where values come from: enough to refuse what would mix two models or two bases.

    Attributes:
        model: the model's name.
        backend: the TransformerLens class.
        fingerprint: a hash of the weights.
        processing: ``"raw"`` as trained, or ``"folded"`` (norms folded, weights centred).
        dtype: of the weights.
        n_layers: number of blocks.
        d_model: width of the residual stream.
        n_heads, n_kv_heads: numbers of heads.
        tokens: token ids of each prompt that was run.
        versions: of the libraries involved.

    Example:
        >>> kept = ls.capture(model, "The Eiffel Tower", ls.resid_post(3)).provenance
        >>> kept.model, kept.processing, kept.n_layers
        ('SmolLM2-135M-Instruct', 'raw', 30)
    """

    model: str
    backend: str
    fingerprint: str
    processing: str
    dtype: str
    n_layers: int
    d_model: int
    n_heads: int
    n_kv_heads: int
    tokens: tuple[tuple[int, ...], ...]
    versions: dict[str, str]

    def __repr__(self) -> str:
        prompts = f"; {len(self.tokens)} prompt(s)" if self.tokens else ""
        return (
            f"Provenance({self.model}, {self.backend}, {self.processing}, {self.dtype}, "
            f"weights {self.fingerprint}{prompts})"
        )

    @classmethod
    def from_header(cls, told: Mapping[str, Any]) -> Provenance:
        """As ``dataclasses.asdict`` gave it, once `conform` has found it to be so."""
        own = {one.name: told[one.name] for one in fields(cls) if one.name in told}
        return cls(**{**own, "tokens": tuple(map(tuple, own["tokens"]))})

    def check_basis(self, other: Provenance, what: str, instead: str = _ON_PURPOSE) -> None:
        """Refuse to use values of this model in the other one; ``instead`` is what can be done.

        Raises:
            BasisError: other weights, or the same weights in another basis.
        """
        if self.processing != other.processing:
            raise BasisError(
                f"{what} lives in another basis than the model.",
                got=f"{self.processing} weights of {self.model}",
                expected=f"{other.processing} weights of {other.model}",
                instead="read it again from this model, or load both with the same processing=",
            )
        if self.fingerprint != other.fingerprint:
            raise BasisError(
                f"{what} comes from another model.",
                got=f"{self.model} ({self.backend}, weights {self.fingerprint})",
                expected=f"{other.model} ({other.backend}, weights {other.fingerprint})",
                instead=instead,
            )


_SHAPES: Final[Mapping[str, Any]] = {"tokens": [[int]], "versions": {str: str}}
_NUMBERS: Final = ("n_layers", "d_model", "n_heads", "n_kv_heads")
HEADER: Final = dict.fromkeys((one.name for one in fields(Provenance)), str) | {
    **dict.fromkeys(_NUMBERS, int),
    **_SHAPES,
}
"""What a file says of a provenance: see `lensscope.store.json_text.conform`."""


def versions_here() -> dict[str, str]:
    """The versions of the libraries that a result depends on."""
    names = ("lensscope", "transformer-lens", "transformers", "torch")
    return {name: _version(name) for name in names}


# Looking a version up reads and parses the package's metadata, some milliseconds each time.
_version = cache(version)
