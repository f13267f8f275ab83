"""Lenses by what they are called, or where they are kept."""

from __future__ import annotations

from pathlib import Path

from lensscope.errors import LensError
from lensscope.lenses.affine import AffineLens
from lensscope.lenses.files import load
from lensscope.lenses.jacobian import JacobianLens
from lensscope.lenses.lens import Lens
from lensscope.lenses.linear import LinearLens
from lensscope.lenses.logit import LogitLens
from lensscope.lenses.tuned import TunedLens
from lensscope.patchscope.scope import Patchscope

_KINDS: dict[str, type[LinearLens]] = {
    kind.__name__: kind for kind in (TunedLens, AffineLens, JacobianLens)
}


def lens_of(text: str, *, allow_pickle: bool = False) -> Lens:
    """A lens from a name or a path.

    Args:
        text: ``logit``, ``token-identity``, a file that a lens was saved in, a folder of the
            tuned-lens library, or a ``.pt`` file of a Jacobian lens.
        allow_pickle: let files of ``torch.save`` be read.

    Raises:
        LensError: none of these.

    Example:
        >>> from lensscope.patchscope.lens_names import lens_of
        >>> lens_of("logit")
        LogitLens(name='logit lens')
    """
    if text == "logit":
        return LogitLens()
    if text == "token-identity":
        return Patchscope.token_identity().as_lens()
    path = Path(text).expanduser()
    if path.is_dir():
        return TunedLens.load(path, allow_pickle=allow_pickle)
    if path.suffix in (".pt", ".pth") and path.is_file():
        return JacobianLens.load(path, allow_pickle=allow_pickle)
    if not path.is_file():
        raise LensError(
            "There is no such lens.",
            got=repr(text),
            expected="logit, token-identity, or the path of a lens that was saved",
            instead="lensscope lens train --out lens.safetensors makes one",
        )
    header, _ = load(path)
    kind = _KINDS.get(header["kind"])
    if kind is None:
        raise LensError(
            f"{path} is not a lens.",
            got=header["kind"],
            expected=", ".join(_KINDS),
            instead="the file that --out named; a checkpoint is not a lens yet",
        )
    return kind.load(path)
