"""Probes: can a linear classifier read the object off the subject's state?

Logistic regression for each layer, as in section 4.2 of Ghandeharioun et al. 2024, with the control
task of Hewitt and Liang 2019 ("Designing and Interpreting Probes with Control Tasks") where folds
part sentences. Where they part subjects there is none: a subject's class in that task is drawn for
this subject alone, and a probe that has not seen the subject is at chance by construction.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from lensscope import checks
from lensscope.errors import StudyError

FOLDS: Final = 3


@dataclass(frozen=True)
class Probing:
    """Which samples a probe sees, and in which folds.

    Attributes:
        kept: numbers of the samples whose class has enough of them.
        labels: the class of each kept sample.
        shuffled: the classes of the control task: each subject's drawn anew from all of them, the
            same in all its sentences.
        folds: the fold in which each kept sample is tested.
        by_subject: whether a subject is in one fold only. If not, every object has few subjects,
            and a probe may know the subject again in another sentence.
    """

    kept: tuple[int, ...]
    labels: NDArray[Any]
    shuffled: NDArray[Any]
    folds: NDArray[Any]
    by_subject: bool


def check_installed() -> None:
    """Refuse to fit probes without what fits them.

    Raises:
        StudyError: scikit-learn is not installed.
    """
    what, expected = "Probes need the extra probes.", "scikit-learn"
    with checks.needing("probes", what, expected, StudyError, "probe=False"):
        import sklearn.model_selection  # noqa: F401


def probing(objects: Sequence[str], subjects: Sequence[int], seed: int) -> Probing | None:
    """Folds for samples, stratified by object; ``None`` if there are not two classes for it.

    Folds part subjects where at least two objects have three subjects each; then only those
    objects count. Otherwise they part sentences, and objects with three samples count.

    Args:
        objects: the class of each sample.
        subjects: the number of its subject.
        seed: of the folds and the control task.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    pairs = set(zip(objects, subjects, strict=True))
    of_object = Counter(obj for obj, _ in pairs)
    wide = {obj for obj, n in of_object.items() if n >= FOLDS}
    by_subject = len(wide) >= 2
    enough = wide if by_subject else {o for o, n in Counter(objects).items() if n >= FOLDS}
    if len(enough) < 2:
        return None
    kept = [n for n, obj in enumerate(objects) if obj in enough]
    names = sorted(enough)
    labels = np.array([names.index(objects[n]) for n in kept])
    groups = np.array([subjects[n] for n in kept])
    kind = StratifiedGroupKFold if by_subject else StratifiedKFold
    folds = np.zeros(len(kept), int)
    parted = groups if by_subject else None
    split = kind(FOLDS, shuffle=True, random_state=seed).split(labels[:, None], labels, parted)
    for fold, (_, test) in enumerate(split):
        folds[test] = fold
    each = list(dict.fromkeys(groups.tolist()))
    first = {subject: labels[groups == subject][0] for subject in each}
    order = np.random.default_rng(seed).permutation(len(each))
    other = {subject: first[each[n]] for subject, n in zip(each, order, strict=True)}
    shuffled = np.array([other[subject] for subject in groups])
    return Probing(tuple(kept), labels, shuffled, folds, by_subject)


def probed(states: Float[np.ndarray, "sample width"], plan: Probing) -> dict[str, NDArray[Any]]:
    """Whether a probe is right for each kept sample, tested where it was not trained.

    Args:
        states: of the kept samples, at one layer.
        plan: labels and folds.

    Returns:
        ``probe``: right about the object; ``shuffled``: right about the control task's class, NaN
        where folds part subjects; ``majority``: whether the commonest class of the training folds
        is right.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    right = {name: np.zeros(len(plan.labels)) for name in ("probe", "shuffled", "majority")}
    for fold in range(FOLDS):
        test = plan.folds == fold
        for name, labels in (("probe", plan.labels), ("shuffled", plan.shuffled)):
            if name == "shuffled" and plan.by_subject:
                right[name][test] = np.nan
                continue
            train = labels[~test]
            if len(set(train.tolist())) < 2:
                right[name][test] = labels[test] == train[0]
                continue
            classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                classifier.fit(states[~test], train)
            right[name][test] = classifier.predict(states[test]) == labels[test]
        commonest = Counter(plan.labels[~test].tolist()).most_common(1)[0][0]
        right["majority"][test] = plan.labels[test] == commonest
    return right
