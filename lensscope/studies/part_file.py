"""One finished part of a study: a parquet file that says what it is, and is whole or refused.

It is parquet as any reader has it. Before its footer, where no reader looks, stands a checksum of
all other bytes; in its metadata stand the study, the part, and the columns.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lensscope.store.json_text import conform, json_text, read_json

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_FORMAT: Final = "lensscope-part-1"
_NAME: Final = b"lensscope"
_MARK: Final = re.compile(rb"lensscope:([0-9a-f]{8})")
_MARKED: Final = len(b"lensscope:00000000")
_END: Final = 8
"""Bytes after the footer: its length, and ``PAR1``."""
_TOLD: Final = {
    "format": str,
    "study": str,
    "key": str,
    "rows": int,
    "columns": {str: {"type": str, "nullable": bool}},
}


def part_bytes(frame: pd.DataFrame, study: str, key: str) -> bytes:
    """A part as the file that it becomes.

    Args:
        frame: a line a cell.
        study: which study it is of.
        key: which part it is.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    told = {"format": _FORMAT, "study": study, "key": key, "rows": len(frame)}
    told["columns"] = _columns(table)
    more = {_NAME: json_text(told, indent=None).encode()}
    held = io.BytesIO()
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **more})
    pq.write_table(table, held, compression="zstd")
    content = held.getvalue()
    at = _footer(content)
    mark = b"lensscope:%08x" % zlib.crc32(content)
    return content[:at] + mark + content[at:]


def read_part(
    content: bytes, study: str, key: str, columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """What `part_bytes` was given.

    Args:
        content: of the file.
        study: which study it must be of.
        key: which part it must be.
        columns: only these.

    Raises:
        ValueError: it is damaged, was written by something else, or is another one.
    """
    table = _table(content)
    told = read_json((table.schema.metadata or {}).get(_NAME, b"null"))
    conform(told, _TOLD, "its description")
    if told["format"] != _FORMAT:
        raise ValueError(f"format {told['format']!r}")
    if told["study"] != study:
        raise ValueError("a part of another study, or of this one with other arguments")
    if told["key"] != key:
        raise ValueError(f"the part {told['key']!r}, put in the place of {key!r}")
    if told["rows"] != table.num_rows or told["columns"] != _columns(table):
        raise ValueError("other rows or columns than were written")
    lacking = [name for name in columns or () if name not in table.column_names]
    if lacking:
        raise ValueError(f"no column {lacking[0]!r}")
    return (table if columns is None else table.select(list(columns))).to_pandas()


def read_earlier_part(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """A part of an earlier version, of which no more is known than that it can be read.

    Args:
        path: of the file.
        columns: only these.

    Raises:
        OSError, ValueError: it cannot, or nothing is in it.
    """
    import pyarrow.parquet as pq

    try:
        wanted = None if columns is None else list(columns)
        found: pd.DataFrame = pq.ParquetFile(path).read(columns=wanted).to_pandas()
    except (NotImplementedError, TypeError, KeyError, MemoryError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    lacking = [name for name in columns or () if name not in found.columns]
    if lacking or found.empty:
        raise ValueError(f"no column {lacking[0]!r}" if lacking else "nothing in it")
    return found


def _table(content: bytes) -> pa.Table:
    """The table of a file whose checksum fits, which is looked at first: a damaged footer can do
    anything to a reader."""
    import pyarrow.parquet as pq

    at = _footer(content)
    match = _MARK.fullmatch(content[max(0, at - _MARKED) : at])
    if match is None:
        raise ValueError("no checksum: something else than a study wrote it, or it is not whole")
    bare = content[: at - _MARKED] + content[at:]
    if int(match[1], 16) != zlib.crc32(bare):
        raise ValueError("its contents do not fit their checksum")
    return pq.ParquetFile(io.BytesIO(content)).read()


def _footer(content: bytes) -> int:
    """Where the footer begins."""
    length = int.from_bytes(content[-_END:-4], "little")
    at = len(content) - _END - length
    if content[:4] != b"PAR1" or content[-4:] != b"PAR1" or at < 4:
        raise ValueError("no whole parquet file")
    return at


def _columns(table: pa.Table) -> dict[str, Any]:
    """What its columns are, and whether something is missing in them."""
    return {
        name: {"type": str(column.type), "nullable": column.null_count > 0}
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
