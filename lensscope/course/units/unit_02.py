"""What is right in unit 2."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from lensscope.course.judges import Function, Holds, Judge, Numbers

_LENGTHS: Final = "These are means of lengths, not lengths of means."
_SENTENCES: Final = "Here each sentence counts once, not each token."


def _net(*, breaks: bool = False) -> Any:
    """A small network; its second layer changes what the first put out, in place."""
    import torch

    class Breaks(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            raise ValueError("this layer breaks")

    torch_layers = torch.nn.Linear(3, 4), torch.nn.ReLU(inplace=True), torch.nn.Linear(4, 2)
    for n, layer in enumerate((torch_layers[0], torch_layers[2])):
        for m, weights in enumerate(layer.parameters()):
            wave = torch.arange(weights.numel()).float().add(n + m).sin()
            weights.data = wave.view_as(weights)
    return torch.nn.Sequential(*torch_layers, *([Breaks()] if breaks else []))


def _input() -> Any:
    import torch

    return torch.tensor([[1.0, -2.0, 0.5], [0.3, 0.2, -1.0]])


def _hooks(net: Any) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules())


def _gives(output_of: Any, name: str) -> bool:
    """Whether it gives what a layer puts out, with nothing changed since."""
    import torch

    net, x = _net(), _input()
    with torch.no_grad():
        first = net[0](x)
        right = [first, first.clamp_min(0), net[2](first.clamp_min(0))][int(name)]
    found = output_of(net, name, _input())
    return found.shape == right.shape and bool(torch.allclose(found, right, atol=1e-5))


def _cleans_up(output_of: Any, *, breaks: bool) -> bool:
    net = _net(breaks=breaks)
    with suppress(ValueError):
        output_of(net, "1", _input())
    return _hooks(net) == 0


def _terms() -> Sequence[tuple[tuple[Any, ...], Any]]:
    """Terms of a sum, and their shares."""
    import torch

    hand = torch.tensor([[3.0, 0.0], [-1.0, 0.0], [0.0, 5.0], [0.0, -5.0]])
    wave = torch.arange(40.0).sin().view(5, 8) * torch.tensor([[5.0], [1.0], [2.0], [0.1], [3.0]])
    whole = wave.sum(0)
    return [
        ((hand,), torch.tensor([1.5, -0.5, 0.0, 0.0])),
        ((wave,), wave @ whole / whole.square().sum()),
    ]


JUDGES: Final[dict[str, Judge]] = {
    "2.1": Holds(
        (
            (callable, "The answer is the function itself: give it without calling it."),
            (
                lambda f: _gives(f, "1") and _gives(f, "2"),
                "It should give what the submodule of that name puts out while net(x) runs.",
            ),
            (
                lambda f: _gives(f, "0"),
                "A later layer works in place, and changed what you kept.",
            ),
            (lambda f: _cleans_up(f, breaks=False), "A hook is left behind after the run."),
            (
                lambda f: _cleans_up(f, breaks=True),
                "A hook is left behind after a run that raised an error.",
            ),
        )
    ),
    "2.2": Function(
        _terms,
        said=(
            "four terms in a plane (two of them cancel, one works against the sum)",
            "five terms",
        ),
    ),
    "2.3": Numbers(
        "637zzW32_UqQkFE=",
        known={
            "63_zzW32_UqQkFE=": "The first: of a substring, which of its tokens is meant?",
            "633zym33_UuQkVE=": "You counted from 1.",
        },
    ),
    "2.4": Numbers(
        "QB19boNJb0_WLkXvmG0wQAgIuUYupunO-FcrlAQGk0PYIpKSP2gMqwCEvLzAbKR8",
        within=3.0,
        known={
            "QB19boNJb0_WLkXvmG0wQQ4AuU01qLzQ5UssjgVSx1_VZ9SdJGkL_RiPvLreeqU0XQ==": _LENGTHS,
            "QB19boNJb0_WLkXvmG0wQQsDuUo2qLzQ5UssjgVSx1_VZ9SdJGkL_RiPvL7deq40XQ==": _SENTENCES,
        },
    ),
    "2.5": Numbers(
        "WK1iu1eC9dkV",
        known={
            "WK1ju1eF9dkV": "You wrote before a block (resid_pre), not after it.",
            "WK1iu1eC9dp4Vw==": "The third counts the cells in which Tokyo is gone, "
            "not those in which Paris comes.",
            "WK1ju1eD9dkV": "The two places are the other way round.",
        },
    ),
}
