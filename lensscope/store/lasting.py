"""Results that last: written as they are, with their provenance, and read without a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lensscope.errors import FileError
from lensscope.store.files import path_of

if TYPE_CHECKING:
    from typing_extensions import Self


class Lasting:
    """A frozen dataclass that can be kept in a file.

    Attributes:
        made_of: the classes of what its fields hold.
    """

    made_of: ClassVar[tuple[type, ...]] = ()

    def save(self, path: str | Path) -> Path:
        """Write all of it, with its provenance; what is at ``path`` is replaced as a whole.

        Raises:
            FileError: no path, the disk is full or refuses, or labels that no file can hold.
        """
        from lensscope.store.objects import write_object  # not before: pandas comes with it

        kind = type(self).__name__
        try:
            return write_object(path_of(path), self, kind, (type(self), *self.made_of))
        except TypeError as error:
            raise FileError(
                f"This {kind} holds something that no file can hold.",
                got=str(error),
                expected="labels and settings that are numbers, texts, sites, or tuples of them",
                instead="labels=[str(label) for label in labels]",
            ) from error

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """What `save` wrote; it shows itself as it did then, without a model.

        Raises:
            FileError: no such file, not as it was written, or something else.
        """
        from lensscope.store.objects import read_object

        found: Self = read_object(path_of(path), cls.__name__, (cls, *cls.made_of))
        return found
