"""The result of a study from the folder that it was run in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from lensscope import checks
from lensscope.errors import LensscopeError, StudyError
from lensscope.store.files import path_of, refusals
from lensscope.studies.experiments.attribute_extraction.study import AttributeExtraction
from lensscope.studies.experiments.cross_model.study import CrossModel
from lensscope.studies.experiments.entity_resolution.study import EntityResolution
from lensscope.studies.experiments.multihop.study import Multihop
from lensscope.studies.experiments.next_token.study import NextToken
from lensscope.studies.experiments.reading_quality.study import ReadingQuality
from lensscope.studies.folder import Folder
from lensscope.studies.result import StudyResult
from lensscope.studies.study import Study

_STUDIES: Final[dict[str, type[Study]]] = {
    study.kind: study
    for study in (
        EntityResolution,
        AttributeExtraction,
        NextToken,
        Multihop,
        CrossModel,
        ReadingQuality,
    )
}


@checks.door(StudyError)
def load(folder: str | Path) -> StudyResult:
    """What a study found, from its folder alone: no model is needed.

    Args:
        folder: what ``study.run(out=folder)`` wrote, finished or not.

    Raises:
        StudyError: not the folder of a study, or a part that is damaged or of another study.
        FileError: no path.

    Example:
        >>> import tempfile
        >>> out = tempfile.mkdtemp()
        >>> study = ls.studies.entity_resolution(
        ...     model, ls.studies.entities(limit=2), layers=[8], max_new_tokens=3)
        >>> _ = study.run(out)
        >>> ls.studies.load(out).finished
        True
    """
    place = path_of(folder)
    with refusals(place):
        found = Folder(Path(os.path.abspath(place)))
    kind = found.manifest()["study"]
    if kind not in _STUDIES:
        raise StudyError(
            "This lensscope does not know the study.",
            got=repr(kind),
            expected=", ".join(_STUDIES),
            instead="the version of lensscope that made the folder",
        )
    try:
        return _STUDIES[kind].summary(found)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        if found.keys is not None or isinstance(error, LensscopeError):
            raise
        raise StudyError(
            f"The parts in {found.path} do not fit together.",
            got=f"{type(error).__name__}: {str(error)[:200]}",
            expected="parts of one study, as an earlier version of lensscope wrote them",
            instead="the same study again, to another out=: parts have checksums now",
        ) from error
