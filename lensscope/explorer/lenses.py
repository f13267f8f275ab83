"""The lenses that the explorer reads with, unless it is given others."""

from __future__ import annotations

import sys
from typing import Any, Final

from lensscope.errors import LensscopeError
from lensscope.lenses.affine import AffineLens
from lensscope.lenses.corpus import python_docs
from lensscope.model.classes import backend_of
from lensscope.store.kept import cache_folder

TOKENS: Final = 3_000
"""Tokens that the affine lens is fitted on: seconds, once for each model."""
_LARGEST: Final = 512 << 20
"""Bytes of the maps of a model that they are fitted for unasked."""


def fits(model: Any) -> bool:
    """Whether an affine lens of the model is small enough to be fitted in passing."""
    backend = backend_of(model)
    return backend.n_layers * backend.d_model**2 * 4 <= _LARGEST


def affine_lens(model: Any) -> AffineLens:
    """An affine lens fitted on some pages of Python's documentation, once for each model: it is
    kept in the user's cache folder (``LENSSCOPE_CACHE``).

    Args:
        model: a ``HookedTransformer`` or ``TransformerBridge``.

    Raises:
        LensError: as `AffineLens.fit`.

    Example:
        >>> from lensscope.explorer.lenses import affine_lens
        >>> affine_lens(model).name
        'affine lens'
    """
    known = backend_of(model).provenance()
    of = f"{known.fingerprint}-{known.processing}-{known.dtype}"
    path = cache_folder() / "lenses" / f"affine-{of}-{TOKENS}.safetensors"
    if path.is_file():
        try:
            found = AffineLens.load(path)
            found.check(backend_of(model), list(found.translators))
            return found
        except LensscopeError:  # damaged, or of another version
            print(f"{path} cannot be read: fitting it again.", file=sys.stderr)
    lens = AffineLens.fit(model, python_docs(), max_tokens=TOKENS)
    path.parent.mkdir(parents=True, exist_ok=True)
    lens.save(path)
    return lens
