"""Every result saves and loads with its provenance, without a model, and shows itself as before."""

from __future__ import annotations

import subprocess
import sys

import pytest
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


def test_it_is_drawn_in_a_process_without_a_model(results, tmp_path):
    results[0].save(tmp_path / "kept")
    script = (
        "import sys, lensscope as ls; from pathlib import Path\n"
        f"found = ls.PatchscopeResult.load({str(tmp_path / 'kept')!r})\n"
        f"found.to_svg({str(tmp_path / 'drawn.svg')!r})\n"
        "assert 'transformer_lens' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "drawn.svg").read_text() == results[0].to_svg()


def test_another_kind_is_refused(results, tmp_path):
    path = results[0].save(tmp_path / "kept")
    with pytest.raises(ls.FileError, match="does not hold a LensReading"):
        ls.LensReading.load(path)
