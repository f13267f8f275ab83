"""JSON as the standard has it: no NaN, no numbers of other libraries; and read without trust."""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pandas as pd

SEAL: Final = "checksum"
"""The name of the field that tells whether the others are as they were written."""


def json_text(value: Any, indent: int | None = 1) -> str:
    """A value as JSON: NaN and infinities as ``null``, a frame as a list of objects, arrays as
    lists."""
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False, indent=indent)
    # half a character pair is no text, but JSON can name it
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def plain(value: Any) -> Any:
    """A value as JSON knows it."""
    if value is None or isinstance(value, bool | int | str):
        return value if type(value) in (bool, int, str, type(None)) else _own(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(held) for name, held in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(held) for held in value]
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        return records(value)
    if hasattr(value, "tolist"):  # numbers and arrays of numpy and torch
        return plain(value.tolist())
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    raise TypeError(f"{type(value).__name__} is nothing that JSON has")


def _own(value: Any) -> Any:
    """A number or text of a class of its own as Python's."""
    return str(value) if isinstance(value, str) else int(value)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A frame as a list of objects, one a line."""
    columns = [plain(frame[name].tolist()) for name in frame.columns]
    names = [str(name) for name in frame.columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def read_json(text: str | bytes) -> Any:
    """What JSON says.

    Raises:
        ValueError: no JSON, or nested so deeply that nobody wrote it.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """An object with the checksum of its other fields."""
    own = {name: held for name, held in plain(value).items() if name != SEAL}
    return {**own, SEAL: _checksum(own)}


def check_seal(value: Mapping[str, Any]) -> None:
    """Refuse an object that is not as it was written; one without a checksum is not looked at.

    Raises:
        ValueError: something was changed.
    """
    if SEAL in value:
        own = {name: held for name, held in value.items() if name != SEAL}
        if value[SEAL] != _checksum(own):
            raise ValueError(f"the contents do not fit their {SEAL}")


def _checksum(value: Mapping[str, Any]) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return f"{zlib.crc32(text.encode()):08x}"


def hash_of(value: object) -> str:
    """A short hash by which a plain value is known again."""
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


_Shape = Any
"""A type, several of them as a tuple (``None`` among them), ``[shape]`` for a list,
``{str: shape}`` for an object of any names, or an object with what each name must hold, where
``"name?"`` may be missing."""


def conform(value: Any, shape: _Shape, where: str = "it") -> None:
    """Refuse what has not the fields and types that were written.

    Raises:
        ValueError: with the first that is missing or of another type.
    """
    if isinstance(shape, list):
        _expect(value, list, where)
        for n, held in enumerate(value):
            conform(held, shape[0], f"{where}[{n}]")
    elif isinstance(shape, dict):
        _expect(value, dict, where)
        for name, own in shape.items():
            if name is str:
                for key, held in value.items():
                    conform(held, own, f"{where}.{key[:40]}")
            elif name.removesuffix("?") in value:
                conform(value[name.removesuffix("?")], own, f"{where}.{name.removesuffix('?')}")
            elif not name.endswith("?"):
                raise ValueError(f"{where} has no {name!r}")
    else:
        _expect(value, shape, where)


def _expect(value: Any, kinds: Any, where: str) -> None:
    own = tuple(
        type(None) if k is None else k for k in (kinds if type(kinds) is tuple else [kinds])
    )
    wrong = isinstance(value, bool) and bool not in own
    if wrong or not isinstance(value, own):
        names = " or ".join(kind.__name__ for kind in own)
        raise ValueError(f"{where} is {type(value).__name__}, not {names}")
