"""What a lens was fitted on, and whether a model is that."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import torch

from lensscope.errors import BasisError
from lensscope.model.backend import Backend
from lensscope.model.head import head_hash
from lensscope.values.provenance import HEADER as PROVENANCE
from lensscope.values.provenance import Provenance

_OWN: Final = "the model that it was fitted on, or a lens fitted on this one"
HEADER: Final = {"provenance": PROVENANCE, "head": str, "unembed_hash": str}
"""What a file says of an origin: see `lensscope.store.json_text.conform`."""


@dataclass(frozen=True)
class Origin:
    """What a lens was fitted on.

    Attributes:
        provenance: of the model; without a fingerprint where the lens was made elsewhere, and with
            no layers where their number is not known.
        head: a hash of its final norm and unembedding; empty where it is not known.
        unembed_hash: the tuned-lens library's own hash of the unembedding; empty where not known.
    """

    provenance: Provenance
    head: str = ""
    unembed_hash: str = ""

    @classmethod
    def of(cls, backend: Backend) -> Origin:
        """A model as the origin of a lens."""
        return cls(backend.provenance(), head_hash(backend))

    @classmethod
    def elsewhere(
        cls, model: str, made_by: str, d_model: int, n_layers: int = 0, unembed_hash: str = ""
    ) -> Origin:
        """The origin of a lens that another library fitted, on raw weights."""
        provenance = Provenance(
            model=model,
            backend=made_by,
            fingerprint="",
            processing="raw",
            dtype="float32",
            n_layers=n_layers,
            d_model=d_model,
            n_heads=0,
            n_kv_heads=0,
            tokens=(),
            versions={},
        )
        return cls(provenance, unembed_hash=unembed_hash)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Origin:
        """As `to_json` gave it."""
        provenance = {**value["provenance"], "tokens": ()}
        return cls(Provenance.from_header(provenance), value["head"], value["unembed_hash"])

    def check(self, backend: Backend, what: str) -> None:
        """Refuse another model, basis or unembedding.

        Raises:
            BasisError: with what differs.
        """
        here, there = backend.provenance(), self.provenance
        own = (there.n_layers or here.n_layers, there.d_model)
        shape = (here.n_layers, here.d_model)

        def elsewhere(how: str, got: str, expected: str, instead: str = _OWN) -> BasisError:
            return BasisError(
                f"{what} was fitted {how}.", got=got, expected=expected, instead=instead
            )

        if shape != own:
            got = f"a lens of {there.model}: {own[0]} layers of width {own[1]}"
            expected = f"{shape[0]} layers of width {shape[1]}, as in {here.model}"
            raise elsewhere("on another model", got, expected)
        if there.processing != here.processing or (
            there.fingerprint and (self.head == head_hash(backend))
        ):
            there.check_basis(here, what)
        elif there.fingerprint and there.fingerprint != here.fingerprint:
            same = there.model == here.model
            got = f"a lens of {there.model} (weights {there.fingerprint}, head {self.head})"
            expected = f"{here.model} (weights {here.fingerprint}, head {head_hash(backend)})"
            raise elsewhere("with another unembedding" if same else "elsewhere", got, expected)
        if self.unembed_hash:
            if self.unembed_hash not in unembed_hashes(backend):
                raise elsewhere(
                    "with another unembedding",
                    f"unembed_hash {self.unembed_hash[:16]}… of {there.model}",
                    f"{unembed_hashes(backend)[0][:16]}… of {here.model}",
                    "the model that it was fitted on, in the precision it was published in",
                )
        elif not there.fingerprint and there.model and _last(there.model) != _last(here.model):
            own_name = "a model of your own is told apart by model.cfg.model_name"
            instead = f"the model that it was fitted on; {own_name}"
            raise elsewhere("on another model", there.model, here.model, instead)


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1].lower()


def unembed_hashes(backend: Backend) -> list[str]:
    """What the tuned-lens library would call the unembedding, as it is and in the precisions in
    which a checkpoint may have been when a lens was published.

    It is the SHA-256 of how numpy prints the matrix ``[d_vocab, d_model]`` with one digit.
    """
    weight = next(iter(backend.model.unembed.parameters())).detach().cpu()
    if weight.shape[0] != backend.d_vocab:
        weight = weight.T
    found = []
    for dtype in (torch.float32, torch.float16):
        printed = np.array_str(weight.to(dtype).numpy(), precision=1)
        found.append(hashlib.sha256(printed.encode()).hexdigest())
    return found
