"""What is right in unit 9."""

from __future__ import annotations

from typing import Any, Final

from lensscope.course.judges import Function, Items, Judge, Number, Word


def _writers() -> list[tuple[tuple[Any, ...], Any]]:
    """What heads write of some names, the names' columns, and both scores."""
    import torch

    generator = torch.Generator().manual_seed(0)
    unembedding = torch.eye(6)[:, :4] * 2 + 0.1
    own = unembedding.T.clone()
    mixed = own.clone()
    mixed[0], mixed[1] = -own[0], own[2] + 0.1 * own[1]
    square = torch.linalg.qr(torch.randn(7, 7, generator=generator))[0]
    turned = square[:, :5]
    shifted = turned.T.roll(1, 0) + 0.1 * turned.T
    biased = own + 5 * unembedding[:, 2]
    return [
        ((own, unembedding), [1.0, 0.0]),
        ((-own, unembedding), [0.0, 1.0]),
        ((mixed, unembedding), [0.5, 0.25]),
        ((shifted, turned), [0.0, 0.0]),
        ((biased, unembedding), [0.25, 0.0]),
    ]


JUDGES: Final[dict[str, Judge]] = {
    "9.1": Items(
        "kU_2FF81hX-EQV-97kS7vlRTUmKwlw==",
        each='the name of a head, such as "3.1"',
        known={
            "kU_1HV83hX-EQVm970S7vlRQUmGwlw==": "These look there most. And in corrupted prompts?",
        },
    ),
    "9.2": Function(
        _writers,
        said=(
            "a head that copies",
            "a head that writes against",
            "a head that does both, and confuses a name",
            "a head that writes the next name",
            "a head that always writes one name",
        ),
    ),
    "9.3": Number(
        "1job1-eb",
        within=0.012,
        known={
            "1joe0OWR": "That is the swap, in which the last name has been there before, too.",
            "yyQA0uKS_A==": "That is at the last token; these heads work at another.",
            "1zoe1uKQ": "That is a logit difference, not an effect.",
        },
        unit="an effect",
    ),
    "9.4": Word(
        "b-6xNgXa_pu3d8Fs6_9x",
        known={
            "b-6_NQXa_JLhZtsr": "That name looks at IO and writes it. What does this head look at?",
            "b-67PwGO-IvyI8do9f9z3QX4XD-Z": "That name looks at IO. What does this head look at?",
            "b9PzMQ6S-J_-d8Bm9ro71QvqGw==": "It looks there. But whom can it tell what?",
            "b-SrKAyT8pzjZoR99_E23krmXCzfdA==": "From which token does such a head look?",
        },
        otherwise="Give one of the five texts.",
    ),
    "9.5": Number(
        "yS8iAcxY",
        within=0.03,
        known={
            "1jE5BMRY": "24.4 was free to react.",
            "1jE5BctfPA==": "You removed 24.4; it should give what it gives in the clean run.",
            "yC8mBMk=": "That is what is left. How much is lost?",
            "1jM5A8pfOQ==": "The clean run comes first: what is lost is a positive number.",
        },
        unit="a logit difference",
    ),
}
