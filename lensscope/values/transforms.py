"""Pure maps between reading and writing, from ``[…, d_in]`` to ``[…, d_out]``.

Any function from a tensor to a tensor is a transform; these are the ones with a name.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Num
from torch import Tensor

from lensscope import checks
from lensscope.errors import PatchError
from lensscope.store.tensors import checksum
from lensscope.values.operations import Map, as_value
from lensscope.values.sites import Site


@runtime_checkable
class BySite(Protocol):
    """What maps states of each site in its own way."""

    def at(self, site: Site) -> Map:
        """The map for states that were read at a site."""

    def check_maps(self, here: Any, target: Any) -> None:
        """Refuse other models (as backends) than it maps between."""


@dataclass(frozen=True, eq=False)
class Affine:
    """``x -> A x + b``, made by `affine`."""

    matrix: Float[Tensor, "d_out d_in"]
    bias: Float[Tensor, " d_out"]

    @property
    def signature(self) -> str:
        """What is the same for maps that do the same."""
        return f"affine {checksum(self.matrix)} {checksum(self.bias)}"

    def __call__(self, x: Float[Tensor, "*rows d_in"]) -> Float[Tensor, "*rows d_out"]:
        if x.shape[-1] != self.matrix.shape[1]:
            raise PatchError(
                "An affine map does not fit what it was given.",
                got=f"vectors of width {x.shape[-1]}",
                expected=f"width {self.matrix.shape[1]}, for A of shape {tuple(self.matrix.shape)}",
                instead="ls.affine(A, b) with A of shape [d_out, d_in]",
            )
        return x @ self.matrix.to(x).mT + self.bias.to(x)

    def __repr__(self) -> str:
        return f"affine[{self.matrix.shape[1]} -> {self.matrix.shape[0]}]"


@checks.door(PatchError)
def affine(
    matrix: Float[Tensor, "d_out d_in"], bias: Float[Tensor, " d_out"] | None = None
) -> Affine:
    """The map ``x -> A x + b``; between two models, ``d_in`` and ``d_out`` are their widths.

    Args:
        matrix: ``A``, ``[d_out, d_in]``.
        bias: ``b``, ``[d_out]``; zeros by default.

    Raises:
        PatchError: shapes that do not fit, NaN or infinity.

    Example:
        >>> ls.affine(torch.eye(3), torch.ones(3))(torch.zeros(3))
        tensor([1., 1., 1.])
    """
    matrix = as_value(matrix)
    bias = torch.zeros(matrix.shape[0], dtype=matrix.dtype) if bias is None else as_value(bias)
    unreal = "meta" in (matrix.device.type, bias.device.type)
    if unreal or matrix.ndim != 2 or bias.shape != matrix.shape[:1]:
        raise PatchError(
            "A matrix and a bias do not make an affine map.",
            got=f"A {tuple(matrix.shape)}, b {tuple(bias.shape)}"
            + " without numbers, on the device meta" * unreal,
            expected="A [d_out, d_in], b [d_out]",
            instead="ls.affine(A, b)",
        )
    return Affine(matrix, bias)


def identity(x: Tensor) -> Tensor:
    """``x`` itself.

    Example:
        >>> ls.identity(torch.ones(2))
        tensor([1., 1.])
    """
    return x


@dataclass(frozen=True)
class ScaledTo:
    """``x -> norm * x / |x|``, made by `scaled_to`."""

    norm: float

    def __call__(self, x: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
        if abs(self.norm) > torch.finfo(x.dtype).max:
            raise PatchError(
                "A length is infinite in the dtype of what is scaled.",
                got=f"{self.norm:g} in {x.dtype}",
                expected=f"at most {torch.finfo(x.dtype).max:g}",
                instead="ls.scaled_to(10.0)",
            )
        length = x.norm(dim=-1, keepdim=True)
        return torch.where(length > 0, x * (self.norm / length.clamp_min(1e-30)), x)

    def __repr__(self) -> str:
        return f"scaled_to({self.norm:g})"


@checks.door(PatchError, norm=checks.real(instead=10))
def scaled_to(norm: float) -> ScaledTo:
    """The map that gives every vector the length ``norm``; zero stays zero.

    Example:
        >>> ls.scaled_to(10.0)(torch.tensor([3.0, 4.0]))
        tensor([6., 8.])
    """
    return ScaledTo(float(norm))


@dataclass(frozen=True, eq=False)
class Projection:
    """``x -> s x̂ + W x̂ + V diag(g) Uᵀ x̂ + b``, where ``x̂`` is ``x``, or of length 1; what is
    ``None`` is left out.

    "Learning Self-Interpretation from Interpretability Artifacts" (arXiv 2602.10352): maps from a
    state to what is written in place of an embedding.

    Attributes:
        scale: ``s``.
        matrix: ``W``.
        down, up: ``U`` and ``V``; in int8 after `rounded`.
        gain: ``g``.
        bias: ``b``.
        normalize: give ``x`` length 1 first.
    """

    scale: float | None = None
    matrix: Float[Tensor, "d d"] | None = None
    down: Num[Tensor, "d rank"] | None = None
    up: Num[Tensor, "d rank"] | None = None
    bias: Float[Tensor, " d"] | None = None
    normalize: bool = True
    gain: Float[Tensor, " rank"] | None = None

    def __call__(self, x: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
        every = self.tensors
        width = next((own.shape[0] for n, own in every.items() if n != "gain"), x.shape[-1])
        if x.shape[-1] != width:
            raise PatchError(
                "A trained map does not fit what it was given.",
                got=f"vectors of width {x.shape[-1]}",
                expected=f"width {width}",
                instead="states of the model that it was trained on",
            )
        own = x.float()
        own = own / (own.norm(dim=-1, keepdim=True) + 1e-8) if self.normalize else own
        terms = [] if self.scale is None else [self.scale * own]
        if self.matrix is not None:
            terms.append(own @ self.matrix.to(own).mT)
        if self.down is not None and self.up is not None:
            inner = own @ self.down.to(own)
            inner = inner if self.gain is None else inner * self.gain.to(own)
            terms.append(inner @ self.up.to(own).mT)
        if self.bias is not None:
            terms.append(self.bias.to(own).expand_as(own))
        return torch.stack(terms).sum(0).to(x.dtype)

    def to(self, dtype: torch.dtype) -> Projection:
        """The same with its tensors in another type."""
        cast: dict[str, Any] = {
            name: held if held.dtype == torch.int8 else held.to(dtype)
            for name, held in self.tensors.items()
        }
        return replace(self, **cast)

    def rounded(self) -> Projection:
        """The same with each column of ``U`` and ``V`` rounded to whole numbers from -127 to 127,
        which take a quarter of the room; what they were multiplied by is in ``g``."""
        if self.down is None or self.up is None or self.gain is not None:
            return self
        steps = [own.float().abs().amax(0).clamp_min(1e-30) / 127 for own in (self.down, self.up)]
        down, up = (
            (own.float() / step).round().to(torch.int8)
            for own, step in zip((self.down, self.up), steps, strict=True)
        )
        return replace(self, down=down, up=up, gain=steps[0] * steps[1])

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors that it has, by name."""
        held = {name: getattr(self, name) for name in ("matrix", "down", "up", "gain", "bias")}
        return {name: tensor for name, tensor in held.items() if tensor is not None}

    @property
    def signature(self) -> tuple[object, ...]:
        """Equal for maps that do the same."""
        raw = {
            name: hashlib.sha256(
                held.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
            )
            for name, held in self.tensors.items()
        }
        return (self.scale, self.normalize, *((n, h.hexdigest()[:16]) for n, h in raw.items()))

    def __repr__(self) -> str:
        scale = "" if self.scale is None else f", scale={self.scale:.4g}"
        return f"projection[{', '.join(self.tensors) or 'scale alone'}{scale}]"
