"""Training the maps of a patchscope, by gradient through the model that speaks."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensscope.errors import LensError
from lensscope.lenses.files import resume, save
from lensscope.lenses.training import divergence
from lensscope.patchscope.fitting.alignment import Alignment, of_rank, spread_over
from lensscope.patchscope.fitting.lessons import Lessons, Teacher
from lensscope.patchscope.fitting.settings import FitSettings
from lensscope.patchscope.fitting.speech import Speech
from lensscope.progress import progress
from lensscope.values.transforms import Projection

_KIND: Final = "tuned patchscope checkpoint"
_LOOKS: Final = 6
"""How often in a training it is measured on what was kept apart, to keep the best."""
_FEW, _SOME, _TRIED = 48, 4, 10
"""Lessons and layers of such a measurement; layers among which the anchor is looked for."""


@dataclass(eq=False)
class MapTrainer:
    """Maps of some layers on their way from the raw write of one of them.

    States ``x`` of all layers are first brought to one, the anchor (see `Alignment`), and then
    mapped as ``(1 + a) x + s * (M ((x - m) / s) + b)``, with the typical size ``s`` of each entry,
    so that one learning rate does for entries that differ a thousandfold. ``M`` is the same for all
    layers, each of which has its own ``a`` and ``b``; all begin at zero, and weight decay pulls
    them there.
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
            down = torch.randn(d, own.rank, generator=generator) / math.sqrt(d)
            self.parameters |= {"down": down.to(**plain), "up": torch.zeros(d, own.rank, **plain)}
        if own.map == "full":
            self.parameters["matrix"] = torch.zeros(d, d, **plain)
        for parameter in self.parameters.values():
            parameter.requires_grad_()
        self.optimizer = torch.optim.AdamW(
            list(self.parameters.values()),
            lr=own.rate,
            betas=(0.9, 0.99),
            weight_decay=own.weight_decay,
        )
        states = self.teacher.sample
        anchor = self._anchor() if own.anchor is None else own.anchor
        if own.start == "aligned":
            aligned = Alignment.of({layer: states[layer] for layer in self.layers}, anchor)
        else:
            aligned = Alignment.none(anchor, n, d)
        self.aligned = aligned.to(backend.device)
        reference = states[anchor].float()
        self.middle = reference.median(0).values
        # 1.48 medians, which a few enormous states do not move
        size = 1.4826 * (reference - self.middle).abs().median(0).values
        self.size = size.clamp_min(1e-4)
        self.best = self._copy()

    @property
    def _few(self) -> Lessons:
        apart = self.teacher.apart[0]
        return apart.some(range(min(_FEW, len(apart))))

    def _anchor(self) -> int:
        """The layer whose states are read best as they are."""
        tried = spread_over(self.layers, _TRIED)
        few = self._few
        with torch.no_grad():
            losses = {n: float(self._of_values(few.states[n].float(), few)) for n in tried}
        return min(losses, key=lambda layer: losses[layer])

    # ---------------------------------------------------------------- training

    def run(self) -> None:
        """Train to the end, from the last checkpoint if there is one.

        Raises:
            LensError: a loss that is not finite, or another training's checkpoint.
        """
        self._resume()
        steps = self.teacher.steps
        if not self.looks:
            self._look()  # where nothing is better than the start, the start is given
        every = max(1, -(-steps // _LOOKS))
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
        return self._of_values(self.mapped(states, at), lessons)

    def _of_values(self, values: Tensor, lessons: Lessons) -> Float[Tensor, ""]:
        logits = self.speech.logits(values.to(self.speech.backend.dtype), lessons.ids)
        return divergence(logits, self.speech.log_p(lessons.last)) / len(logits)

    def mapped(
        self, states: Float[Tensor, "row d"], at: Int[Tensor, " row"]
    ) -> Float[Tensor, "row d"]:
        """What is written of states of these layers, by their places among the layers."""
        held = self.parameters
        brought = torch.einsum("nd,ned->ne", states, self.aligned.matrices[at])
        brought = brought + self.aligned.biases[at]
        own = (brought - self.middle) / self.size
        out = held["bias"][at]
        if "down" in held:
            out = out + own @ held["down"] @ held["up"].mT
        if "matrix" in held:
            out = out + own @ held["matrix"].mT
        return brought * (1 + held["scale"][at])[:, None] + self.size * out

    def _look(self) -> None:
        """Measure some of what is kept apart to say when to stop, and keep the best so far."""
        few = self._few
        found = []
        with torch.no_grad():
            for layer in spread_over(self.layers, _SOME):
                at = torch.full((len(few),), list(self.layers).index(layer))
                found.append(float(self._loss(few.states[layer].float(), at, few)))
        self.looks.append((self.step, sum(found) / len(found)))
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
        held = {name: tensor.cpu() for name, tensor in self.best.items()}
        middle, size = self.middle.cpu(), self.size.cpu()
        first, shift = self.aligned.matrices[n].cpu(), self.aligned.biases[n].cpu()
        scale, bias = 1 + float(held["scale"][n]), size * held["bias"][n]
        keep = self.settings.keep_rank
        plain = bool((first == torch.eye(len(bias))).all()) and not shift.any()
        if plain and "matrix" not in held and (keep is None or keep >= self.settings.rank):
            if "down" not in held:
                return Projection(scale, bias=bias, normalize=False)
            down, up = held["down"] / size[:, None], held["up"] * size[:, None]
            bias = bias - up @ (down.mT @ middle)
            return Projection(scale, down=down, up=up, bias=bias, normalize=False)
        inner = held.get("matrix", torch.zeros_like(first))
        if "down" in held:
            inner = held["up"] @ held["down"].mT
        own = size[:, None] * inner / size
        matrix = (own + scale * torch.eye(len(bias))) @ first
        bias = bias + scale * shift + own @ (shift - middle)
        if keep is not None:
            return of_rank(matrix, bias, keep, self.teacher.sample[self.layers[n]], size)
        return Projection(None, matrix=matrix, bias=bias, normalize=False)

    # ---------------------------------------------------------------- checkpoints

    _saved: int | None = None
    _moving: bool = False

    def _header(self) -> dict[str, Any]:
        """What must be the same for a training to go on."""
        return {
            **{k: v for k, v in self.settings.told.items() if k != "checkpoint_every"},
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
