"""Values as they are, in one file and back: numbers, texts, arrays, data sets, frozen dataclasses.

A tree of JSON says what there is; arrays and tensors lie beside it as such. Nothing in a file is
run: of classes, only those are made again that whoever reads it names.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from lensscope.errors import FileError
from lensscope.store.json_text import read_json
from lensscope.store.tensors import DamagedError, read_tensors, write_tensors

_FORMAT: Final = "lensscope-result-1"
_TREE: Final = "tree"


def write_object(
    path: str | Path, value: Any, kind: str, classes: Sequence[type] | None = None
) -> Path:
    """Write a value; what is at ``path`` is replaced only once all is written.

    Args:
        path: of a file.
        value: numbers, slices, texts, ``None``, tensors, arrays, data sets, frames; lists, tuples,
            mappings and dataclasses of these, and what has ``made_from()``, which makes it
            again.
        kind: what it is.
        classes: those that `read_object` will be given; all that is needed by default.

    Raises:
        FileError: the disk is full, or refuses.
        TypeError: something that is none of these, or of another class.
    """
    held = _Held()
    tree = json.dumps(_told(value, held), allow_nan=False).encode()
    unknown = [] if classes is None else [one for one in held.classes if one not in classes]
    if unknown:
        raise TypeError(f"{unknown[0].__name__} cannot be read again")
    held[_TREE] = torch.frombuffer(bytearray(tree), dtype=torch.uint8)
    return write_tensors(Path(path), {"format": _FORMAT, "kind": kind}, held)


def read_object(path: str | Path, kind: str, classes: Sequence[type]) -> Any:
    """What `write_object` wrote.

    Args:
        path: of the file.
        kind: what it must be.
        classes: the dataclasses that may be in it.

    Raises:
        FileError: no such file, not whole, or something else.
    """
    try:
        header, held = read_tensors(path, _FORMAT, kind=str)
        if header["kind"] != kind:
            raise DamagedError(f"a {header['kind'][:80]}")
        tree = read_json(bytes(held[_TREE].numpy()))
        return _made(tree, held, {one.__name__: one for one in classes})
    except (ValueError, TypeError, LookupError) as error:
        raise FileError(
            f"{path} does not hold a {kind}.",
            got=f"{type(error).__name__}: {error}"[:400],
            expected=f"a file of format {_FORMAT}, as {kind}.save(path) wrote it",
            instead=f"{kind}.load(path) of such a file, or make it again",
        ) from error


# ---------------------------------------------------------------- writing


class _Held(dict[str, Tensor]):
    """Tensors by name, and the classes of what was told beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.classes: set[type] = set()


def _told(value: Any, held: _Held) -> Any:
    """A value as JSON, with what is too large for it put beside."""
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, list):
        return [_told(one, held) for one in value]
    if isinstance(value, tuple):
        return {"tuple": [_told(one, held) for one in value]}
    if isinstance(value, slice):
        return {"slice": [_told(one, held) for one in (value.start, value.stop, value.step)]}
    if isinstance(value, xr.Dataset):
        parts = {"data": value.data_vars, "coords": value.coords}
        return {
            "dataset": {
                part: [[str(n), list(v.dims), _told(v.values, held)] for n, v in some.items()]
                for part, some in parts.items()
            }
        }
    fields = _fields(value)
    if fields is not None:
        held.classes.add(type(value))
        told = {name: _told(one, held) for name, one in fields.items()}
        return {"of": type(value).__name__, "fields": told}
    if isinstance(value, Mapping):
        return {"map": [[_told(k, held), _told(v, held)] for k, v in value.items()]}
    if isinstance(value, Tensor):
        # on its own: safetensors refuses tensors that share memory
        return {"tensor": _put(value.detach().cpu().contiguous().clone(), held)}
    if isinstance(value, np.ndarray):
        return _told_array(value, held)
    if isinstance(value, pd.DataFrame):
        columns = [[_told(n, held), _told(value[n].to_numpy(), held)] for n in value.columns]
        return {"frame": columns}
    raise TypeError(f"{type(value).__name__} cannot be written")


def _fields(value: Any) -> Mapping[str, Any] | None:
    """What a value is made from; `made_from` gives it where that is not its fields."""
    if isinstance(value, type):
        return None
    if hasattr(type(value), "made_from"):
        return dict(value.made_from())
    if dataclasses.is_dataclass(value):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
    return None


def _told_array(array: Any, held: _Held) -> Any:
    if array.dtype.kind in "biuf":
        return {"array": _put(torch.from_numpy(np.array(array)), held)}
    items = [_told(one, held) for one in array.ravel().tolist()]
    return {"items": items, "shape": list(array.shape), "text": array.dtype.kind == "U"}


def _put(tensor: Tensor, held: dict[str, Tensor]) -> str:
    name = f"t{len(held)}"
    held[name] = tensor
    return name


# ---------------------------------------------------------------- reading


def _made(told: Any, held: Mapping[str, Tensor], classes: Mapping[str, type]) -> Any:
    """The value of which JSON tells."""
    if isinstance(told, list):
        return [_made(one, held, classes) for one in told]
    if not isinstance(told, dict):
        return told
    what: str = next(iter(told), "")
    inner: Any = told.get(what)

    def made(one: Any) -> Any:
        return _made(one, held, classes)

    def dataset() -> xr.Dataset:
        parts = (inner[part] for part in ("data", "coords"))
        return xr.Dataset(*({n: (dims, made(v)) for n, dims, v in part} for part in parts))

    makers: dict[str, Callable[[], Any]] = {
        "float": lambda: float(inner),
        "tuple": lambda: tuple(map(made, inner)),
        "slice": lambda: slice(*map(made, inner)),
        "map": lambda: {made(key): made(value) for key, value in inner},
        "tensor": lambda: held[inner],
        "array": lambda: held[inner].numpy().copy(),
        "items": lambda: _made_items(list(map(made, inner)), told["shape"], text=told["text"]),
        "dataset": dataset,
        "frame": lambda: pd.DataFrame({made(name): made(values) for name, values in inner}),
        "of": lambda: classes[inner](**{name: made(v) for name, v in told["fields"].items()}),
    }
    if what in makers:
        return makers[what]()
    raise ValueError(f"nothing is called {what[:40]!r}")


def _made_items(items: list[Any], shape: Sequence[int], *, text: bool) -> Any:
    if text:
        return np.array(items, dtype=str).reshape(shape)
    array = np.empty(len(items), dtype=object)
    for n, one in enumerate(items):
        array[n] = one
    return array.reshape(shape)
