"""Fitting lenses: planted maps, gradients, resuming, what texts are taken, files of others."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import lensscope as ls
from lensscope.lenses.corpus import Corpus, pieces, python_docs, some_rows
from lensscope.lenses.jacobian import piece_jacobians
from lensscope.lenses.moments import Moments
from lensscope.lenses.settings import Training
from lensscope.lenses.training import Trainer, divergence
from lensscope.model.classes import backend_of
from lensscope.model.head import unembed
from tests import families, oracle
from tests.lenses.test_lenses import linear_lens

TEXTS = [families.prompt(40, seed=n) for n in range(12)]
FAST = {"steps": 30, "length": 10, "batch_size": 4, "tokens_per_step": 24, "n_held_out": 4}
FAST |= {"learning_rate": 0.02, "bf16": False, "checkpoint_every": 5}


# -------------------------------------------------------------------- tuned lens


def test_the_loss_is_the_divergence_and_has_its_gradient():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 11, generator=generator, dtype=torch.float64, requires_grad=True)
    log_p = torch.randn(3, 11, generator=generator, dtype=torch.float64).log_softmax(-1)
    expected = torch.nn.functional.kl_div(
        logits.log_softmax(-1), log_p, log_target=True, reduction="sum"
    )
    assert float(divergence(logits, log_p).detach()) == pytest.approx(float(expected.detach()))
    assert torch.autograd.gradcheck(lambda x: divergence(x, log_p), (logits,))


def test_a_step_moves_along_the_gradient_of_the_mean_divergence(few):
    """One step of plain SGD from the identity, against autograd on the hook loop's states."""
    rate, texts = 0.01, [families.prompt(6, seed=n) for n in range(2)]
    options = {"steps": 1, "length": 6, "batch_size": 2, "tokens_per_step": None, "skip_first": 0}
    training = Training(
        **options, optimizer="sgd", momentum=0.0, learning_rate=rate, clip=1e9, bf16=False
    )
    backend = backend_of(few)
    corpus = Corpus(backend, texts, 6, 2)
    trainer = Trainer(backend, [ls.resid_pre(1)], corpus, training)
    trainer.run()
    found = trainer.translators()[ls.resid_pre(1)]
    states = torch.cat([oracle.activations(few, t, "resid_pre", 1) for t in texts])
    log_p = torch.cat([oracle.logits(few, t) for t in texts]).log_softmax(-1)
    matrix = torch.zeros(32, 32, requires_grad=True)
    bias = torch.zeros(32, requires_grad=True)
    s_in, s_out = trainer.scale_in[0], trainer.scale_out
    moved = states + s_out * (states / s_in @ matrix.T + bias)
    log_q = ls.LogitLens().logits(few, moved, ls.resid_pre(1)).log_softmax(-1)
    loss = (log_p.exp() * (log_p - log_q)).sum(-1).mean()
    assert trainer.losses[0][0] == pytest.approx(float(loss.detach()), rel=1e-4)
    down, across = torch.autograd.grad(loss, (matrix, bias))
    oracle.close(found.matrix, -rate * s_out[:, None] * down / s_in, 1e-3)
    oracle.close(found.bias, -rate * s_out * across, 1e-3)


def test_training_lowers_the_divergence_on_held_out_text(few):
    before = [p.clone() for p in few.parameters()]
    lens = ls.TunedLens.fit(few, TEXTS, **{**FAST, "steps": 60})
    scores = lens.scores()
    assert (scores["kl_after"] < scores["kl_before"]).all(), scores
    assert lens.history["losses"].shape == (60, 3)
    assert all(torch.equal(a, b) for a, b in zip(before, few.parameters(), strict=True))
    assert all(p.grad is None for p in few.parameters())
    # what it says of itself is what a comparison finds
    apart = Corpus(backend_of(few), TEXTS, 10, 4, n_held_out=4).held_out
    later = slice(1, None)  # without BOS, the first token is left out
    report = ls.compare(few, [list(p) for p in apart], [ls.LogitLens(), lens], positions=later)
    for name, column in (("logit lens", "kl_before"), ("tuned lens", "kl_after")):
        own = report.data.kl.sel(lens=name, layer=[0, 1]).values
        assert own == pytest.approx(scores[column][1:].to_numpy(), rel=1e-3)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_going_on_after_a_break_gives_the_same_lens(llama, tmp_path, monkeypatch, optimizer):
    options = {**FAST, "steps": 12, "optimizer": optimizer}
    whole = ls.TunedLens.fit(llama, TEXTS, **options)
    path = tmp_path / "checkpoint"
    batch = Corpus.batch

    def broken(self, step):
        if step == 8:
            raise KeyboardInterrupt
        return batch(self, step)

    with monkeypatch.context() as patched:
        patched.setattr(Corpus, "batch", broken)
        with pytest.raises(KeyboardInterrupt):
            ls.TunedLens.fit(llama, TEXTS, checkpoint=path, **options)
    assert path.exists()
    resumed = ls.TunedLens.fit(llama, TEXTS, checkpoint=path, **options)
    for site, translator in whole.translators.items():
        assert torch.equal(translator.matrix, resumed.translators[site].matrix)
        assert torch.equal(translator.bias, resumed.translators[site].bias)
    assert torch.equal(whole.history["losses"], resumed.history["losses"])
    with pytest.raises(ls.LensError, match="another training") as error:
        ls.TunedLens.fit(llama, TEXTS, checkpoint=path, **{**options, "seed": 4})
    assert "seed: 0" in str(error.value)


_KILLED = """
import os, signal, sys
import lensscope as ls
from lensscope.lenses.corpus import Corpus
from tests import families
from tests.lenses.test_lens_fits import FAST, TEXTS
model = families.build(families.Case("llama", "bridge", "raw"))
batch = Corpus.batch
def killed(self, step):
    if step == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    return batch(self, step)
Corpus.batch = killed
ls.TunedLens.fit(model, TEXTS, checkpoint=sys.argv[1], **{**FAST, "steps": 12})
"""


def test_going_on_after_a_kill_gives_the_same_lens(llama, tmp_path):
    path, options = tmp_path / "checkpoint", {**FAST, "steps": 12}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _KILLED, str(path)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
    )
    assert done.returncode == -9, done.stderr[-2000:]
    assert path.exists()
    resumed = ls.TunedLens.fit(llama, TEXTS, checkpoint=path, **options)
    whole = ls.TunedLens.fit(llama, TEXTS, **options)
    for site, translator in whole.translators.items():
        oracle.close(resumed.translators[site].matrix, translator.matrix, 1e-5)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_state(
    llama, tmp_path, monkeypatch
):
    path, options = tmp_path / "checkpoint", {**FAST, "steps": 12}
    calls = []

    def spoilt(backend, states):
        calls.append(1)
        logits = unembed(backend, states)
        return logits * torch.nan if len(calls) == 4 * 7 + 3 else logits  # layer 1 at step 7

    with monkeypatch.context() as patched:
        patched.setattr("lensscope.lenses.training.unembed", spoilt)
        with pytest.raises(ls.LensError, match="not finite at step 7") as error:
            ls.TunedLens.fit(llama, TEXTS, checkpoint=path, **options)
    assert f"{path} holds step 5" in str(error.value)
    assert "resid_pre(1)" in str(error.value)
    resumed, whole = (
        ls.TunedLens.fit(llama, TEXTS, checkpoint=where, **options) for where in (path, None)
    )
    assert torch.equal(resumed.history["losses"], whole.history["losses"])


def test_texts_that_can_be_gone_through_once(llama):
    stream = (t for t in TEXTS)
    lens = ls.TunedLens.fit(llama, stream, **{**FAST, "steps": 3})
    assert len(lens.history["losses"]) == 3
    with pytest.raises(ls.LensError, match="texts ended") as error:
        ls.TunedLens.fit(llama, iter(TEXTS[:3]), **{**FAST, "n_held_out": 1})
    assert "steps=" in str(error.value)


def test_pieces_of_text(llama, tmp_path):
    text = " ".join(f"w{n}" for n in range(3, 24))
    cut = list(pieces(llama, [text], 8))
    bos = cut[0][0]
    assert [p[0] for p in cut] == [bos] * 3  # this model wants BOS
    assert [i for p in cut for i in p[1:]] == list(range(3, 24))
    assert next(pieces(llama, [text], 8, prepend_bos=False)) == tuple(range(3, 11))
    file = tmp_path / "text.txt"
    file.write_text(text.replace("w10", "\nw10\n"))
    assert list(pieces(llama, file, 8)) == cut
    assert list(pieces(llama, [[5, 6], [7], torch.tensor([8, 9, 10])], 8)) == [
        (5, 6),
        (8, 9, 10),
    ]
    assert len(python_docs()) > 70
    assert all(len(text) > 20 for text in python_docs())


def test_batches_are_the_same_whenever_they_are_asked_for(llama):
    backend = backend_of(llama)
    corpus, again = (Corpus(backend, TEXTS, 10, 5, n_held_out=2) for _ in range(2))
    steps = [corpus.batch(n) for n in range(25)]
    assert [again.batch(n) for n in reversed(range(25))] == steps[::-1]
    seen = [piece for batch in steps for piece in batch]
    assert not set(seen) & set(corpus.held_out)
    assert len(set(seen)) == 4 * len(TEXTS) - 2  # gone through all, more than once
    assert len(some_rows(9, 4, 0, 1)) == 4
    assert some_rows(9, 4, 0, 1).tolist() != some_rows(9, 4, 0, 2).tolist()


# -------------------------------------------------------------------- affine lens


def test_a_planted_map_is_recovered():
    generator = torch.Generator().manual_seed(0)
    matrix, bias = torch.randn(4, 6, generator=generator), torch.randn(4, generator=generator)
    moments, sizes = Moments(6, 4), torch.tensor([1e-3, 1, 1, 1, 1, 1e3])
    for _ in range(5):
        x = torch.randn(20, 6, generator=generator).double()
        x = x * sizes + 2
        moments.add(x, x @ matrix.double().T + bias)
    found, offset = moments.solve(0.0)
    oracle.close(found, matrix.double(), 1e-4)
    oracle.close(offset, bias.double(), 1e-4)
    smaller, _ = moments.solve(1.0)
    assert float((smaller * sizes).norm()) < float((found * sizes).norm())


def test_a_map_to_the_same_place_of_a_twin_is_the_identity(llama):
    twin = families.wrap(copy.deepcopy(families.hf_model("llama")))
    lens = ls.AffineLens.fit(
        llama, TEXTS, sites=ls.resid_post(0), target=ls.resid_post(0), target_model=twin, ridge=0.0
    )
    states = oracle.activations(llama, families.prompt(9, seed=99), "resid_post", 0)
    oracle.close(lens.at(ls.resid_post(0))(states), states, 1e-3)
    with pytest.raises(ls.LensError, match="does not lead to the last residual"):
        lens.read(llama, [TEXTS[0]])
    scope = ls.Patchscope(ls.InspectionPrompt("w5 w9", "w9"), transform=lens, model=twin)
    plain = ls.Patchscope(ls.InspectionPrompt("w5 w9", "w9"), model=twin)
    with_map, without = (
        s.inspect(llama, [TEXTS[0]], layers=[0], max_new_tokens=1).frame() for s in (scope, plain)
    )
    assert with_map["first_token"][0] == without["first_token"][0]


def test_tokens_of_two_tokenizers_are_matched_where_they_end(llama):
    from lensscope.lenses.affine import _matched
    from lensscope.model.tokens import tokenize

    backend = backend_of(llama)
    text = "w5 w17 w8"
    (prompt,) = tokenize(backend, text)
    source, mine, other, theirs = _matched(backend, prompt, backend, 1)
    assert (source.ids, other.text) == (prompt.ids, text)
    assert mine == theirs == (1, 2, 3)


def test_an_affine_lens_foretells_better_than_no_map(few):
    lens = ls.AffineLens.fit(few, TEXTS, length=20, ridge=0.05)
    report = ls.compare(few, TEXTS, [ls.LogitLens(), lens], positions=slice(1, 20))
    kl = report.data.kl
    assert (
        kl.sel(lens="affine lens", layer=[0, 1]) < kl.sel(lens="logit lens", layer=[0, 1])
    ).all()
    assert float(kl.sel(lens="affine lens", layer=2)) == pytest.approx(0, abs=1e-4)


# -------------------------------------------------------------------- Jacobian lens


def test_jacobians_are_those_of_finite_differences(few):
    """Each entry of one token's state moved a little, against the hook loop."""
    prompt, layer, skip = families.prompt(6, seed=3), 0, 2
    found = piece_jacobians(backend_of(few), tuple(prompt), [0, 1], skip, rows=5)[0]
    states = oracle.activations(few, prompt, "resid_post", layer)
    counted, step = range(skip, len(prompt) - 1), 1e-2
    expected = torch.zeros(32, 6)
    entries = range(0, 32, 6)
    for n, entry in enumerate(entries):
        for token in counted:
            sides = []
            for sign in (1, -1):
                moved = states[token].clone()
                moved[entry] += sign * step
                edit = oracle.Edit("resid_post", layer, token, lambda x, moved=moved: moved)
                run = []
                hooks = [(edit.hook, edit), (oracle.HOOKS["resid_post"].format(2), _keep(run))]
                with torch.no_grad():
                    few.run_with_hooks(torch.tensor([prompt]), fwd_hooks=hooks)
                sides.append(run[0][0, list(counted)].sum(0))
            expected[:, n] += (sides[0] - sides[1]) / (2 * step) / len(counted)
    oracle.close(found[:, list(entries)], expected, 2e-2)


def _keep(run):
    return lambda tensor, hook: run.append(tensor.clone())


def test_jacobians_agree_with_transformer_lens(llama, tmp_path):
    theirs = pytest.importorskip("transformer_lens.tools.analysis").JacobianLens
    texts = [" ".join(f"w{i}" for i in t[:12]) for t in TEXTS[:3]]
    other = theirs.fit(llama, texts, corpus="test", skip_first_positions=2, show_progress=False)
    ids = [llama.to_tokens(text)[0].tolist() for text in texts]
    lens = ls.JacobianLens.fit(llama, ids, skip_first=2, rows=7)
    for layer in (0, 1):
        oracle.close(lens.at(ls.resid_post(layer)).matrix, other.jacobians[layer], 1e-5)
    path = str(tmp_path / "lens.pt")
    other.save(path, dtype=torch.float32)
    with pytest.raises(ls.LensError, match="has pickle in it"):
        ls.JacobianLens.load(path)
    for same in (
        ls.JacobianLens.load(path, allow_pickle=True),
        ls.JacobianLens.from_transformer_lens(other),
        ls.JacobianLens.from_transformer_lens(lens.to_transformer_lens()),
    ):
        oracle.close(same.at(ls.resid_post(1)).matrix, other.jacobians[1], 1e-6)
        reading = same.read(llama, [TEXTS[0]], full=True, top_k=2)
        result = other.readout(llama, torch.tensor([TEXTS[0]]), return_full_logits=True)
        for layer in (0, 1, 2):
            got = torch.tensor(reading.data.full_log_probability.sel(layer=layer).values[0]).exp()
            oracle.close(got, result.lens_logits[layer].softmax(-1), 1e-4)


def test_a_jacobian_lens_to_another_layer_reads_nothing(llama, tmp_path):
    """TransformerLens refuses it as well."""
    theirs = pytest.importorskip("transformer_lens.tools.analysis").JacobianLens
    matrices = {0: torch.eye(32)}

    def made(**metadata):
        return theirs(matrices, n_prompts=1, d_model=32, metadata=metadata or None)

    for target in (1, 0):
        other = made(target_layer=target)
        with pytest.raises(ValueError, match="targets layer"):
            other.validate_model(llama)
        path = str(tmp_path / "nested.pt")
        other.save(path)
        torch.save({"J": matrices, "n_prompts": 1, "target_layer": target}, tmp_path / "flat.pt")
        lenses = [
            ls.JacobianLens.from_transformer_lens(other),
            ls.JacobianLens.load(path, allow_pickle=True),
            ls.JacobianLens.load(tmp_path / "flat.pt", allow_pickle=True),
        ]
        lenses.append(ls.JacobianLens.load(lenses[0].save(tmp_path / "own.safetensors")))
        for lens in lenses:
            for act in (
                lambda lens=lens: lens.read(llama, [TEXTS[0]]),
                lambda lens=lens: ls.compare(llama, [TEXTS[0]], lens),
                lambda lens=lens: lens.scores(llama, TEXTS),
                lambda lens=lens: lens.logits(llama, torch.zeros(1, 32), ls.resid_post(0)),
            ):
                with pytest.raises(ls.LensError, match="fitted to another layer") as caught:
                    act()
                assert f"target_layer={target}" in str(caught.value)
            assert lens.to_transformer_lens().metadata["target_layer"] == target
    for fine in (made(), made(target_layer=2)):
        ls.JacobianLens.from_transformer_lens(fine).read(llama, [TEXTS[0]])
    own = ls.JacobianLens.fit(llama, TEXTS, length=10, skip_first=2, max_pieces=1)
    assert own.to_transformer_lens().metadata["target_layer"] == 2
    above = theirs({2: torch.eye(32)}, n_prompts=1, d_model=32)
    with pytest.raises(ls.BasisError, match="another model"):
        ls.JacobianLens.from_transformer_lens(above).read(llama, [TEXTS[0]])
    with pytest.raises(ls.LensError, match="which layer"):
        ls.JacobianLens.from_transformer_lens(made(target_layer="last"))


def test_a_jacobian_fit_goes_on_after_a_break(llama, tmp_path, monkeypatch):
    options = {"length": 10, "skip_first": 2, "max_pieces": 6, "layers": [0]}
    whole = ls.JacobianLens.fit(llama, TEXTS, **options)
    path = tmp_path / "sums"
    calls = []

    def broken(*args):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return piece_jacobians(*args)

    monkeypatch.setattr("lensscope.lenses.jacobian.piece_jacobians", broken)
    with pytest.raises(KeyboardInterrupt):
        ls.JacobianLens.fit(llama, TEXTS, checkpoint=path, **options)
    resumed = ls.JacobianLens.fit(llama, TEXTS, checkpoint=path, **options)
    assert len(calls) == 4 + 3
    site = ls.resid_post(0)
    assert torch.equal(resumed.at(site).matrix, whole.at(site).matrix)
    with pytest.raises(ls.LensError, match="another fit"):
        ls.JacobianLens.fit(llama, TEXTS, checkpoint=path, **{**options, "length": 12})


# -------------------------------------------------------------------- files of others


def test_the_tuned_lens_library_s_folder(llama, tmp_path):
    lens = linear_lens(llama)
    folder = lens.to_tuned_lens(tmp_path / "lens", llama)
    state = torch.load(folder / "params.pt", weights_only=True)
    assert set(state) == {f"{n}.{part}" for n in range(3) for part in ("weight", "bias")}
    config = json.loads((folder / "config.json").read_text())
    assert (config["d_model"], config["num_hidden_layers"]) == (32, 3)
    with pytest.raises(ls.LensError, match="allow_pickle=True"):
        ls.TunedLens.load(folder)
    again = ls.TunedLens.load(folder, allow_pickle=True)
    site, states = ls.resid_post(0), oracle.activations(llama, TEXTS[0], "resid_post", 0)
    # number 1 of the library is for hidden_states[1], which is block 0's output
    moved = states + states @ state["1.weight"].T + state["1.bias"]
    expected = ls.LogitLens().logits(llama, moved, site)
    oracle.close(again.logits(llama, states, site), expected, 1e-6)
    folded = families.build(families.Case("llama", "bridge", "folded"))
    with pytest.raises(ls.BasisError, match="another basis"):
        again.read(folded, [TEXTS[0]])
    config["unembed_hash"] = "0" * 64
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ls.BasisError, match="another unembedding"):
        ls.TunedLens.load(folder, allow_pickle=True).read(llama, [TEXTS[0]])
    del state["2.weight"]
    torch.save(state, folder / "params.pt")
    with pytest.raises(ls.LensError, match="layer 2"):
        ls.TunedLens.load(folder, allow_pickle=True)


class _Harmful:
    def __reduce__(self):
        return (os.mkdir, ("harmed",))


def test_pickle_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "lens"
    folder.mkdir()
    config = {"base_model_name_or_path": "x", "d_model": 4, "num_hidden_layers": 1}
    (folder / "config.json").write_text(json.dumps(config))
    torch.save({"0.weight": _Harmful()}, folder / "params.pt")
    for allowed in (False, True):
        with pytest.raises(ls.LensError):
            ls.TunedLens.load(folder, allow_pickle=allowed)
    for name in ("lens.safetensors", "lens.pt"):
        (tmp_path / name).write_bytes(pickle.dumps(_Harmful()))
        with pytest.raises(ls.LensError, match="pickle"):
            ls.TunedLens.load(tmp_path / name)
        with pytest.raises(ls.LensError):
            ls.JacobianLens.load(tmp_path / name)
    assert not (tmp_path / "harmed").exists()


def test_files_that_are_not_whole(llama, tmp_path):
    path = linear_lens(llama).save(tmp_path / "lens.safetensors")
    whole = path.read_bytes()
    for broken in (b"", whole[:20], whole[:-7], b"\0" * 100):
        path.write_bytes(broken)
        with pytest.raises(ls.LensError, match="not whole"):
            ls.TunedLens.load(path)
    with pytest.raises(ls.LensError, match="not whole"):
        ls.TunedLens.load(tmp_path / "nowhere")
    path.write_bytes(whole)
    with pytest.raises(ls.LensError, match=r"ls\.TunedLens\.load"):
        ls.AffineLens.load(path)
