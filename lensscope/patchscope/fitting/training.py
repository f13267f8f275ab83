"""Training the maps of a patchscope, by gradient through the model that speaks."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensscope.errors import LensError
from lensscope.lenses.files import resume, save
from lensscope.lenses.training import divergence
from lensscope.patchscope.fitting.lessons import Lessons, Teacher
from lensscope.patchscope.fitting.settings import FitSettings
from lensscope.patchscope.fitting.speech import Speech
from lensscope.progress import progress
from lensscope.values.transforms import Projection

_KIND: Final = "tuned patchscope checkpoint"
_LOOKS: Final = 8
"""How often in a training it is measured on what was kept apart, to keep the best."""


@dataclass(eq=False)
class MapTrainer:
    """Maps of some layers on their way from the raw write.

    A map is trained as ``x + s_out * (M ((x - m) / s_in) + b)``, with the typical size of each
    entry of the states of its layer, so that one learning rate does for entries that differ a
    thousandfold; ``M`` begins at zero, and weight decay pulls it there.
    """

    speech: Speech
    teacher: Teacher
    layers: Sequence[int]
    settings: FitSettings
    checkpoint: Path | None = None
    step: int = 0
    losses: list[float] = field(default_factory=list)
    looks: list[tuple[int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        own, backend = self.settings, self.speech.backend
        d, n = backend.d_model, len(self.layers)
        plain: dict[str, Any] = {"device": backend.device, "dtype": torch.float32}
        generator = torch.Generator().manual_seed(own.seed)
        self.parameters = {"scale": torch.zeros(n, **plain), "bias": torch.zeros(n, d, **plain)}
        if own.map == "low_rank":
            down = torch.randn(n, d, own.rank, generator=generator) / math.sqrt(d)
            self.parameters |= {
                "down": down.to(**plain),
                "up": torch.zeros(n, d, own.rank, **plain),
            }
        if own.map == "full":
            self.parameters["matrix"] = torch.zeros(n, d, d, **plain)
        for parameter in self.parameters.values():
            parameter.requires_grad_()
        self.optimizer = torch.optim.AdamW(
            list(self.parameters.values()),
            lr=own.rate,
            betas=(0.9, 0.99),
            weight_decay=own.weight_decay,
        )
        self.middle, self.size_in, self.size_out = self._sizes()
        self.best = self._copy()

    def _sizes(self) -> tuple[Tensor, Tensor, Tensor]:
        """The middle and the typical size of each entry: 1.48 medians, which a few enormous states
        do not move."""
        first = self.teacher.apart[0].states
        every = torch.stack([first[layer].float() for layer in self.layers])
        middle = every.median(1).values
        size = 1.4826 * (every - middle[:, None]).abs().median(1).values
        return middle, size.clamp_min(1e-4), size.clamp_min(1e-4)

    # ---------------------------------------------------------------- training

    def run(self) -> None:
        """Train to the end, from the last checkpoint if there is one.

        Raises:
            LensError: a loss that is not finite, or another training's checkpoint.
        """
        self._resume()
        steps = self.teacher.steps
        every = max(1, steps // _LOOKS)
        with progress(steps, "tuned patchscope", "step", initial=self.step) as bar:
            try:
                while self.step < steps:
                    self._update()
                    if self.step % every == 0 or self.step == steps:
                        self._look()
                    bar.set_postfix_str(f"loss {self.losses[-1]:.3f}", refresh=False)
                    bar.update()
            except KeyboardInterrupt:
                if not self._moving:  # halfway through an update there is nothing to go on from
                    self.save()
                raise

    def _update(self) -> None:
        own = self.settings
        lessons = self.teacher.lessons(self.step)
        draw = random.Random(f"{own.seed}/layers/{self.step}")
        at = torch.tensor([draw.randrange(len(self.layers)) for _ in range(len(lessons))])
        states = torch.stack(
            [lessons.states[self.layers[i]][n] for n, i in enumerate(at.tolist())]
        ).float()
        with torch.enable_grad():
            loss = self._loss(states, at, lessons)
            # asked for by name, so that none is made for the model's own weights
            gradients = torch.autograd.grad(loss, list(self.parameters.values()))
        found = float(loss.detach())
        if not math.isfinite(found):
            raise self._not_finite()
        if self.step and self.step % own.checkpoint_every == 0:
            self.save()  # now that what it has come to is known to give finite losses
        for parameter, gradient in zip(self.parameters.values(), gradients, strict=True):
            parameter.grad = gradient
        torch.nn.utils.clip_grad_norm_(list(self.parameters.values()), own.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = own.rate_at(self.step, self.teacher.steps)
        self._moving = True
        self.optimizer.step()
        self.losses.append(found)
        self.step += 1
        self._moving = False

    def _loss(self, states: Tensor, at: Tensor, lessons: Lessons) -> Float[Tensor, ""]:
        """The mean over tokens of ``KL(said || said of what is written)``, nats."""
        values = self.mapped(states, at).to(self.speech.backend.dtype)
        logits = self.speech.logits(values, lessons.ids)
        return divergence(logits, self.speech.log_p(lessons.last)) / len(logits)

    def mapped(
        self, states: Float[Tensor, "row d"], at: Int[Tensor, " row"]
    ) -> Float[Tensor, "row d"]:
        """What is written of states of these layers, by their places among the layers."""
        held = self.parameters
        own = (states - self.middle[at]) / self.size_in[at]
        out = held["bias"][at]
        if "down" in held:
            inner = torch.einsum("nd,ndr->nr", own, held["down"][at])
            out = out + torch.einsum("nr,ndr->nd", inner, held["up"][at])
        if "matrix" in held:
            out = out + torch.einsum("nd,ned->ne", own, held["matrix"][at])
        return states * (1 + held["scale"][at])[:, None] + self.size_out[at] * out

    def _look(self) -> None:
        """Measure what is kept apart to say when to stop, and keep the best so far."""
        apart = self.teacher.apart[0]
        total = 0.0
        with torch.no_grad():
            for n in range(len(self.layers)):
                at = torch.full((len(apart),), n)
                total += float(self._loss(apart.states[self.layers[n]].float(), at, apart))
        self.looks.append((self.step, total / len(self.layers)))
        if self.looks[-1][1] == min(loss for _, loss in self.looks):
            self.best = self._copy()

    def _copy(self) -> dict[str, Tensor]:
        return {name: held.detach().clone() for name, held in self.parameters.items()}

    def _not_finite(self) -> LensError:
        kept = "" if self._saved is None else f"; {self.checkpoint} holds step {self._saved}"
        return LensError(
            f"The loss is not finite at step {self.step}.",
            got="NaN or infinity",
            expected="finite losses; a lower learning_rate or clip may keep them so",
            instead=f"learning_rate={self.settings.rate / 10:g}{kept}",
        )

    # ---------------------------------------------------------------- what came of it

    def maps(self) -> dict[int, Projection]:
        """The best maps so far, in the coordinates of the states."""
        return {layer: self._map(n) for n, layer in enumerate(self.layers)}

    def _map(self, n: int) -> Projection:
        held = {name: tensor[n].cpu() for name, tensor in self.best.items()}
        middle, size_in, size_out = (
            tensor[n].cpu() for tensor in (self.middle, self.size_in, self.size_out)
        )
        scale, bias = 1 + float(held["scale"]), size_out * held["bias"]
        if "matrix" in held:
            own = size_out[:, None] * held["matrix"] / size_in
            whole = own + scale * torch.eye(len(bias))
            return Projection(None, matrix=whole, bias=bias - own @ middle, normalize=False)
        if "down" in held:
            down, up = held["down"] / size_in[:, None], held["up"] * size_out[:, None]
            bias = bias - up @ (down.mT @ middle)
            return Projection(scale, down=down, up=up, bias=bias, normalize=False)
        return Projection(scale, bias=bias, normalize=False)

    # ---------------------------------------------------------------- checkpoints

    _saved: int | None = None
    _moving: bool = False

    def _header(self) -> dict[str, Any]:
        """What must be the same for a training to go on."""
        return {
            **{k: v for k, v in _plain(asdict(self.settings)).items() if k != "checkpoint_every"},
            "lessons": self.teacher.hash,
            "weights": self.speech.backend.provenance().fingerprint,
            "layers": list(self.layers),
            "scope": repr(self.speech.scope),
        }

    def _tensors(self) -> dict[str, Tensor]:
        """All that training goes on from, by name."""
        tensors = {f"best.{name}": held for name, held in self.best.items()}
        for name, parameter in self.parameters.items():
            state = self.optimizer.state[parameter]
            tensors[name] = parameter
            for key in ("exp_avg", "exp_avg_sq"):
                tensors[f"{name}.{key}"] = state.get(key, parameter)
            tensors[f"{name}.step"] = torch.as_tensor(state.get("step", 0.0), dtype=torch.float32)
        return tensors

    def save(self) -> None:
        """Keep all that is needed to go on from here, if there is a file for it."""
        if self.checkpoint is None or not self.losses:
            return
        header = {"kind": _KIND, "step": self.step, "settings": self._header()}
        told = {
            "losses": torch.tensor(self.losses, dtype=torch.float64),
            "looks": torch.tensor(self.looks, dtype=torch.float64).reshape(-1, 2),
        }
        save(self.checkpoint, header, {**self._tensors(), **told})
        self._saved = self.step

    def _resume(self) -> None:
        found = resume(
            self.checkpoint, _KIND, self._header(), "training", self._tensors(), ["step"]
        )
        if found is None:
            return
        header, tensors = found
        if not {"losses", "looks"} <= tensors.keys() or len(tensors["losses"]) != header["step"]:
            raise LensError(
                f"{self.checkpoint} is not a whole checkpoint of this training.",
                got="no losses, or not one for each step",
                expected=f"losses of {header['step']} steps",
                instead=f"delete {self.checkpoint}, and the same call begins anew",
            )
        self.step = self._saved = header["step"]
        self.losses = tensors["losses"].tolist()
        self.looks = [(int(step), loss) for step, loss in tensors["looks"].tolist()]
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(tensors[name])
                self.best[name] = tensors[f"best.{name}"].to(parameter.device)
                keys = ("exp_avg", "exp_avg_sq", "step")
                self.optimizer.state[parameter] = {k: tensors[f"{name}.{k}"].clone() for k in keys}


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON has them."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()}
