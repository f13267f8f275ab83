"""Results that last: written as they are, with their provenance, and read without a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lensscope.store.files import path_of
from lensscope.store.objects import read_object, write_object

if TYPE_CHECKING:
    from typing_extensions import Self


class Lasting:
    """A frozen dataclass that can be kept in a file.

    Attributes:
        made_of: the dataclasses that its fields hold.
    """

    made_of: ClassVar[tuple[type, ...]] = ()

    def save(self, path: str | Path) -> Path:
        """Write all of it, with its provenance; what is at ``path`` is replaced as a whole.

        Raises:
            FileError: no path, or the disk is full or refuses.
        """
        return write_object(path_of(path), self, type(self).__name__)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """What `save` wrote; it shows itself as it did then, without a model.

        Raises:
            FileError: no such file, not as it was written, or something else.
        """
        found: Self = read_object(path_of(path), cls.__name__, (cls, *cls.made_of))
        return found
