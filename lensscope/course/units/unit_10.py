"""What is right in unit 10."""

from __future__ import annotations

from typing import Any, Final

from lensscope.course.judges import Function, Judge, Number


def _shares() -> list[tuple[tuple[Any, ...], Any]]:
    """Logit differences of pairs, and the interval of what is recovered."""
    import numpy as np

    generator = np.random.default_rng(7)

    def pairs(n: int, spread: float, floor: float) -> list[Any]:
        nothing = generator.normal(floor, 0.2, n)
        model = nothing + np.abs(generator.normal(6, spread, n)) + 0.5
        circuit = nothing + 0.8 * (model - nothing) + generator.normal(0, 0.4, n)
        return [model, circuit, nothing]

    plain, unlike, high = pairs(12, 2.5, 0.5), pairs(12, 1.0, 0.3), pairs(16, 1.0, 4.0)
    unlike[0][0] = unlike[2][0] + 0.02  # a pair whose corruption hardly changes anything
    return [((*given,), _interval(*given)) for given in (plain, unlike, high)]


def _interval(model: Any, circuit: Any, nothing: Any) -> list[float]:
    import numpy as np

    n = len(model)
    rows = np.random.default_rng(1).integers(n, size=(20000, n))
    whole, part, rest = (values[rows].mean(1) for values in (model, circuit, nothing))
    found: list[float] = np.quantile((part - rest) / (whole - rest), [0.025, 0.975]).tolist()
    return found


JUDGES: Final[dict[str, Judge]] = {
    "10.1": Function(
        _shares,
        within=0.025,
        said=(
            "twelve pairs",
            "pairs of which one has next to no gap",
            "pairs for which nothing is far from 0",
        ),
    ),
    "10.2": Number(
        "Rg==",
        known={
            "R4U=": "That is the one of the largest estimate. Run them exactly.",
            "R4E=": "Its exact effect is not the largest; mind the sign.",
            "Rw==": "You counted blocks from 1.",
        },
        unit="the number of a block",
    ),
    "10.3": Number(
        "CKrnhV6p",
        within=0.02,
        known={
            "Carhjlan": "That is the circuit with nothing dropped.",
            "Carvj14=": "That is on the pairs that the choice was made on.",
            "D6rhhF6n": "That is a logit difference. Which share is recovered?",
        },
        unit="a share",
    ),
    "10.4": Number(
        "isOcuCIe",
        within=0.03,
        known={
            "isObuykW": "That is the corrupted ablation.",
            "l92CvCMfPA==": "Take off what all zeros give, from the circuit and from the model.",
            "l92CuikeOA==": "Nothing means here that all heads are zero.",
            "l9-CvCYdPg==": "That is a logit difference. Which share is recovered?",
        },
        unit="a share",
    ),
    "10.5": Number(
        "LAzQzXMk",
        within=0.004,
        known={
            "LAzTz38j": "That is one receiver alone.",
            "LAzTxHMn": "That is the sum of three paths; let the three receivers see it together.",
            "LAzRzXck": "That is the whole effect of the head, on all paths.",
            "LAzUxXck": "That is a share of the whole effect; give the effect of the paths.",
        },
        unit="an effect",
    ),
}
