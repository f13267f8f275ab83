"""TransformerLens' names of hook points, wherever a site is taken."""

from __future__ import annotations

import pytest
import torch

import lensscope as ls
from lensscope.values.site_kinds import KINDS
from tests import families

P, Q = families.prompt(6), families.prompt(6, seed=1)
POST = "blocks.1.hook_resid_post"
METRIC = ls.log_probability(7)


def test_every_kind_has_the_name_of_its_hook_point(llama):
    for kind, told in KINDS.items():
        name = f"blocks.1.{told.hook}" if told.has_layer else told.hook
        assert name in llama.hook_dict
        site = ls.Site(kind, 1 if told.has_layer else None)
        assert ls.Site(name) == site
        assert torch.equal(ls.capture(llama, P, name)[name], ls.capture(llama, P, site)[site])


def test_they_are_taken_where_sites_are(llama):
    site, lens = ls.resid_post(1), ls.LogitLens()
    state = ls.capture(llama, P, site)[site]
    several = [POST, "hook_embed", ls.pattern(0)]
    assert [*ls.run(llama, P, keep=several).cache] == [site, ls.embed, ls.pattern(0)]
    assert [*ls.run_many(llama, P, [[]], keep=POST).cache] == [site]
    assert POST in ls.capture(llama, P, site)
    move = "blocks.2.hook_resid_pre"
    assert (site.at(1) >> torch.tanh >> move).write == ls.resid_pre(2)
    patch = ls.Patch(POST, site.zero().operation)
    assert patch.site == site
    assert lens.read(llama, P, POST).sites == lens.read(llama, P, [POST]).sites == (site,)
    assert torch.equal(lens.logits(llama, state, POST), lens.logits(llama, state, site))
    scope = ls.Patchscope("w5 x", write="blocks.2.hook_resid_pre", read=ls.resid_post)
    assert scope.write == ls.resid_pre(2)
    for found, expected in (
        (
            ls.activation_patching(llama, P, Q, "blocks.1.attn.hook_z", METRIC),
            ls.activation_patching(llama, P, Q, ls.head_out(1), METRIC),
        ),
        (
            ls.path_patching(
                llama, P, Q, "blocks.0.hook_mlp_out", [POST[:9] + "hook_mlp_out"], METRIC
            ),
            ls.path_patching(llama, P, Q, ls.mlp_out(0), [ls.mlp_out(1)], METRIC),
        ),
    ):
        assert found.data.equals(expected.data)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("blocks.1.hook_resid_posts", "ls.resid_post(1)"),
        ("blocks.1.attn.hook_result", "ls.head_out(1)"),
        ("blocks.1.mlp.hook_pre", "ls.mlp_hidden(1)"),
        ("hook_pos_embed", "ls.embed"),
        ("blocks.1.hook_embed", "ls.embed"),
        ("hook_resid_pre", "ls.resid_pre(12)"),
        ("blocks.9.hook_resid_post", "ls.resid_post(2)"),
    ],
)
def test_others_are_refused_with_the_near_site(llama, name, near):
    for call in (ls.capture, ls.LogitLens().read):
        with pytest.raises(ls.SiteError, match="got:") as caught:
            call(llama, P, name)
        assert near in str(caught.value)
    with pytest.raises(ls.SiteError, match=r"instead:  ls\.resid_pre, or"):
        ls.capture(llama, P, "resid_pre")
