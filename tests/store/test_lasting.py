"""Every result saves and loads with its provenance, without a model, and shows itself as before."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import xarray as xr

import lensscope as ls

CLEAN, CORRUPTED = [3, 4, 5, 6], [3, 7, 5, 6]


@pytest.fixture(scope="module")
def results(llama):
    scope = ls.Patchscope(ls.InspectionPrompt("w5 w9", "w9"), max_new_tokens=3)
    lens = ls.LogitLens()
    metric = ls.logit_difference(1, 2)
    effect = ls.activation_patching(llama, CLEAN, CORRUPTED, [ls.resid_pre, ls.head_out], metric)
    heads = ls.activation_patching(
        llama, CLEAN, CORRUPTED, [ls.head_out, ls.mlp_out], metric, positions=ls.ALL
    )
    circuit = heads.circuit(top=3)
    return [
        scope.inspect(llama, ["w3 w4 w5", "w7 w8"], position=slice(None), layers=[0, 1]),
        scope.inspect(llama, CLEAN, target_layers="all"),
        lens.read(llama, ["w3 w4", "w7 w8 w9"], measures="all", targets=["w5"]),
        lens.read(llama, CLEAN, ls.head_out, positions=-1),
        ls.compare(llama, [CLEAN, CORRUPTED], [lens, scope.as_lens()]),
        effect,
        ls.path_patching(llama, CLEAN, CORRUPTED, ls.mlp_out(0), ["logits"], metric),
        circuit.curve(llama, CLEAN, CORRUPTED, metric, random=2),
    ]


def test_a_result_comes_back_as_it_was(results, tmp_path):
    for n, result in enumerate(results):
        path = result.save(tmp_path / f"{n}.safetensors")
        found = type(result).load(path)
        xr.testing.assert_identical(found.data, result.data)
        assert str(found) == str(result) and repr(found) == repr(result)
        assert found.to_json() == result.to_json() and found.to_svg() == result.to_svg()
        assert found.to_html() == result.to_html()
        assert found.frame().equals(result.frame())


CIRCUIT = ls.Circuit(
    {ls.mlp_out(0): -0.25, ls.head_out(1, 2): 0.5, ls.mlp_out(2).at(ls.span("w4")): 0.1},
    {(ls.mlp_out(0), ls.q(1, 2)): 0.1, (ls.head_out(1, 2), "logits"): 0.4},
    settings={"groups": ["a"]},
    words={ls.mlp_out(0): "w3\n"},
)


def test_all_are_drawn_to_the_byte_in_a_process_without_a_model(results, tmp_path):
    script = ["import sys"]
    for n, result in enumerate([*results, CIRCUIT]):
        kind, path = type(result), result.save(tmp_path / f"{n}")
        script += [
            f"from {kind.__module__} import {kind.__name__}",
            f"{kind.__name__}.load({str(path)!r}).to_svg({str(path) + '.svg'!r})",
        ]
        script += ["assert 'transformer_lens' not in sys.modules"] * (n == 0)
    done = subprocess.run([sys.executable, "-c", "\n".join(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for n, result in enumerate([*results, CIRCUIT]):
        assert (tmp_path / f"{n}.svg").read_text(encoding="utf-8") == result.to_svg()


def test_runs_come_back_without_a_model(llama, tmp_path):
    place = ls.resid_post(0).at(1)
    keep = [ls.pattern(1), ls.resid_post(1).at(slice(0, 2)), ls.head_out(2, 1).at("w4")]
    prompts = ["w3 w4", "w7 w8 w4"]
    axes = {"site": (place, ls.mlp_out(1)), "factor": (0.0, 2.0)}
    sets = [[site.at(1).scale(factor)] for site in axes["site"] for factor in axes["factor"]]
    some = {"labels": axes, "positions": -1}
    for n, one in enumerate(
        (
            ls.run(llama, prompts, keep=keep),
            ls.generate(llama, prompts, max_new_tokens=2),
            ls.run_many(llama, prompts[0], sets, keep=keep, **some),
            ls.run_many(llama, prompts[0], sets, top_k=2, max_new_tokens=2, **some),
            ls.run_many(llama, prompts[0], sets, metric=lambda rows: rows[:, -1, 5], **some),
            ls.support(llama),
            ls.pairs.Pairs("p", ("w3",), ("w4",), (("w5",),), ((),), {"a": (slice(0, 1),)}),
        )
    ):
        found = type(one).load(one.save(tmp_path / f"{n}"))
        assert repr(found) == repr(one)
        for name, value in vars(one).items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(getattr(found, name).nan_to_num(7), value.nan_to_num(7)), name
            elif isinstance(value, ls.Cache):
                assert list(found.cache) == list(value) and found.cache.tokens == value.tokens
                for site in value:
                    torch.testing.assert_close(found.cache[site], value[site], equal_nan=True)
                    assert found.cache.positions(site) == value.positions(site)
            elif not isinstance(value, ls.Generation):
                assert getattr(found, name) == value, name
        if isinstance(one, ls.Runs):
            xr.testing.assert_identical(found.data, one.data)
            assert found.labels == one.labels and found.frame().equals(one.frame())
            assert (found.generation is None) == (one.generation is None)
            assert one.generation is None or found.generation.text == one.generation.text
        if not isinstance(one, (ls.Run, ls.Generation)):
            assert found.to_markdown() == one.to_markdown()
    odd = ls.run_many(llama, prompts[0], sets, labels=[object() for _ in sets])
    with pytest.raises(ls.FileError, match=r"This Runs holds.*\n.*object cannot be written"):
        odd.save(tmp_path / "odd")
    odd = ls.run_many(llama, prompts[0], sets, labels=[row[0] for row in sets])
    with pytest.raises(ls.FileError, match="cannot be read again"):
        odd.save(tmp_path / "odd")


def test_another_kind_is_refused(results, tmp_path):
    path = results[0].save(tmp_path / "kept")
    with pytest.raises(ls.FileError, match="does not hold a LensReading"):
        ls.LensReading.load(path)
