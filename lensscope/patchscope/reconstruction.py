"""The way back: from the words about a state to a vector, and how near that comes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from jaxtyping import Float
from torch import Tensor

from lensscope.engine.capture import capture
from lensscope.errors import PatchError
from lensscope.model.classes import backend_of
from lensscope.values.operations import as_value
from lensscope.values.sites import resid_post

EXPLANATION: Final = "{explanation}"
_SAID: Final = re.compile(r"<explanation>\s*(.*?)\s*</explanation>", re.DOTALL)


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """A vector that was made of words, and how near it is to another.

    Attributes:
        vector: it; its direction is what was trained.
        cosine: with the vector that it was to be; ``None`` if none was given.
    """

    vector: Float[Tensor, " d_model"]
    cosine: float | None

    def __repr__(self) -> str:
        near = "" if self.cosine is None else f", cosine={self.cosine:.3f}"
        return f"Reconstruction(width {len(self.vector)}{near})"


@dataclass(frozen=True, eq=False)
class WayBack:
    """A model, cut off after the layer that was read, and a head on its last state of a text.

    Attributes:
        model: the model.
        head: from that state to the vector.
        template: the prompt, with ``{explanation}`` for the words.
        prepend_bos: whether a BOS comes first.
    """

    model: Any
    head: Float[Tensor, "d_model d_model"]
    template: str
    prepend_bos: bool

    def reconstruct(self, text: str, vector: Any = None) -> Reconstruction:
        """The vector of a text; of one with explanation tags, of what stands between them.

        Raises:
            PatchError: a vector of another width.
        """
        said = _SAID.search(text)
        backend = backend_of(self.model)
        site = resid_post(backend.n_layers - 1).at(-1)
        prompt = self.template.replace(EXPLANATION, said[1] if said else text.strip())
        cache = capture(self.model, prompt, site, prepend_bos=self.prepend_bos)
        state = cache[site].reshape(-1)
        found = (state.to(self.head) @ self.head.mT).float().cpu()
        if vector is None:
            return Reconstruction(found, None)
        given = as_value(vector).float().cpu()
        if given.shape != found.shape:
            raise PatchError(
                "The vector is not one that the way back could give.",
                got=f"shape {tuple(given.shape)}",
                expected=f"shape {tuple(found.shape)}",
                instead="one state: cache[site][0, 0]",
            )
        return Reconstruction(found, float(given @ found / (given.norm() * found.norm())))
