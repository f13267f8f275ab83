# ---
# title: Circuits and faithfulness
# goals:
#   - turn effects, or heads with names, into a circuit, and say what the circuit claims
#   - measure faithfulness, minimality and completeness by hand and in one call, with intervals,
#     beside random circuits of equal size and on pairs that the circuit was not found on
#   - find out how far a verdict hangs on the ablation, on what counts as outside, and on the pairs
#   - tell who tells whom by path patching, grow a circuit from the logits backwards, and draw it
#   - state a claim about a circuit with all that it rests on
# readings:
#   - "Wang, Variengien, Conmy, Shlegeris, Steinhardt 2022, *Interpretability in the Wild*,
#     section 4, arXiv 2211.00593"
#   - "Goldowsky-Dill, MacLeod, Sato, Arora 2023, *Localizing Model Behavior with Path Patching*,
#     arXiv 2304.05969"
#   - "Hanna, Pezzelle, Belinkov 2024, *Have Faith in Faithfulness*, arXiv 2403.17806"
#   - "Miller, Chughtai, Saunders 2024, *Transformer Circuit Faithfulness Metrics are not Robust*,
#     arXiv 2407.08734"
# class:
#   - [10, "Recap: the ledger of unit 9; what a circuit claims"]
#   - [20, "Sections 1 and 2, exercise 10.1"]
#   - [20, "Sections 3 and 4, exercise 10.2"]
#   - [20, "Sections 5 and 6, exercise 10.3"]
#   - [20, "Sections 7 and 8; exercises 10.4 and 10.5 at home"]
# scene:
#   prompt: "When Mary and John went to the store, John gave a drink to"
#   position: -1
#   says: "The view Where it matters, from the estimate at once to the circuit above a threshold:
#     move the threshold, and see heads come and go that a paper would have called the circuit."
# ---

# %% [markdown] tags=["slide"]
# ## 1. A circuit is a claim
#
# A map of effects says what matters, one part at a time. A **circuit** says: *these components
# suffice*.
#
# - Keep them as they are in the clean run.
# - **Ablate** everything else: give it what it has in another run.
# - Does the model still do the task?
#
# $$\text{recovered} = \frac{F(C) - F(\emptyset)}{F(M) - F(\emptyset)}$$
#
# of the circuit $C$, the whole model $M$, and nothing $\emptyset$.

# %% [markdown]
# The heads of unit 9, with their names, are such a claim. They were found on other pairs than those
# used here, so nothing below was chosen to suit them. The corruption makes the second subject a
# third name (`"s2"`): neither name is repeated, and the corrupted logit difference is near 0.

# %%
import numpy as np
import pandas as pd

import lensscope as ls

model = ls.load_model()  # SmolLM2-135M-Instruct, from 4-bit weights turned back into floats
named = {
    "previous token": ["1.2", "2.1", "11.1", "16.0"],
    "duplicate token": ["2.4", "5.6", "8.0", "8.1", "9.2", "14.3"],
    "induction": ["17.3", "17.4", "17.5", "18.6"],
    "S-inhibition": ["19.2", "20.0"],
    "name movers": ["23.0", "23.1", "23.7"],
    "23.3": ["23.3"],
    "24.4": ["24.4"],
    "29.0": ["29.0"],
    "29.1": ["29.1"],
}
circuit = [head for heads in named.values() for head in heads]
every_head = [f"{block}.{head}" for block in range(30) for head in range(9)]
pairs = ls.pairs.ioi(model, 7, corruption="s2", seed=1)
found, held = pairs[:3], pairs[3:]
print(f"{len(circuit)} of {len(every_head)} heads")
found.frame()[["clean", "corrupted", "correct"]].head(3)

# %% [markdown] tags=["slide"]
# ## 2. Faithfulness by hand
#
# Run the clean prompt, and move into it from the corrupted run what every head **outside** the
# circuit gives. What is left of the logit difference?
#
# - Beside it: the whole model, and nothing (all heads moved).
# - And the control: circuits of as many heads, **drawn at random**.


# %%
def site(head):
    """What a head gives, by its name: head_out(16, 0) of "16.0"."""
    return ls.head_out(*map(int, head.split(".")))


def outside(kept):
    """Moves of all heads but some."""
    return [site(head) >> site(head) for head in every_head if head not in kept]


def measured(pairs, circuits):
    """The logit difference of each pair: of the model, of nothing, and of each circuit."""
    rows = []
    for i in range(len(pairs)):
        right, wrong = (model.to_single_token(a[i][0]) for a in (pairs.correct, pairs.wrong))
        out = ls.run_many(
            model,
            pairs.clean[i],
            [[], outside([]), *map(outside, circuits.values())],
            source=pairs.corrupted[i],
        )
        logits = out.logits[:, -1]
        rows.append((logits[:, right] - logits[:, wrong]).tolist())
    return pd.DataFrame(rows, columns=["model", "nothing", *circuits])


def recovered(differences):
    """The share of what the model does: a ratio of means over pairs."""
    mean = differences.mean()
    return (mean - mean["nothing"]) / (mean["model"] - mean["nothing"])


generator = np.random.default_rng(0)
drawn = {
    f"random {n}": generator.choice(every_head, len(circuit), replace=False).tolist()
    for n in range(4)
}
alone = measured(held, {"named heads": circuit} | drawn)

# %% tags=["slide"]
recovered(alone).round(2)

# %% tags=["claim"]
share = recovered(alone)
assert 0.6 < share["named heads"] < 1
assert share.filter(like="random").max() < 0.6
assert (share.filter(like="random").abs() < 0.25).sum() >= 3

# %%
lucky = share.filter(like="random").idxmax()
print(f"{lucky} keeps {[head for head in drawn[lucky] if head in circuit]} of the named heads")

# %% tags=["claim"]
assert "23.3" in drawn[lucky]

# %% [markdown]
# The 23 named heads, of 270, bring back about four fifths on pairs that they have never seen.
# Random circuits of 23 heads bring back nothing, but for one, which happens to hold 23.3, one of
# the strongest heads. (That is why one random circuit is no control: it takes several, and a look
# at the best of them.)
#
# `Circuit` is the same claim as a value, and gives the same number with an interval over pairs.
# `kinds` says what else is ablated: heads alone, here.

# %%
claim = ls.Circuit({site(head): 1.0 for head in circuit}, kinds=("head_out",))
faithful = claim.faithfulness(model, held.clean, held.corrupted, held.metric)
print(faithful)

# %% tags=["claim"]
assert abs(faithful.recovered - share["named heads"]) < 1e-3
low, high = faithful.interval()
assert low < 0.7
assert high > 0.85  # four pairs say no more than this

# %% [markdown] tags=["notes"]
# The interval is the point: four pairs give "four fifths" give or take a fifth. In a paper, use a
# hundred pairs; here every pair costs seconds.
#
# Ask what a random circuit of *layers 14 to 29* would be: a stricter control. (Unit 9's controls
# were of the same blocks.)

# %% [markdown] tags=["exercise"]
# ### Exercise 10.1: how sure?
#
# **Goal** put an interval on a ratio of means · **Difficulty** ★★☆ · **Minutes** 15
#
# Write `interval(model, circuit, nothing)`. Each argument is an array with one logit difference for
# each pair, in the same order. Return `(low, high)`, a 95 % bootstrap interval of the recovered
# share: draw as many pairs as there are, with replacement, at least 2,000 times, take the ratio of
# means of each draw, and give the 2.5 % and the 97.5 % quantile. `answer` is the function.
#
# <details><summary>Hint 1</summary>Draw numbers of <em>pairs</em>, and use the same ones for all
# three arrays: a pair is drawn as a whole.</details>
# <details><summary>Hint 2</summary><code>rows = generator.integers(n, size=(4000, n))</code>, then
# <code>model[rows].mean(1)</code>.</details>


# %% tags=["stub"]
def interval(model, circuit, nothing):
    """A 95 % bootstrap interval of the recovered share."""


answer = ...  # interval


# %% tags=["wrong"]
def three_draws(model, circuit, nothing):
    n = len(model)
    m, c, e = (
        np.asarray(values)[generator.integers(n, size=(4000, n))].mean(1)
        for values in (model, circuit, nothing)
    )
    return tuple(np.quantile((c - e) / (m - e), [0.025, 0.975]))


def of_ratios(model, circuit, nothing):
    m, c, e = map(np.asarray, (model, circuit, nothing))
    ratios = (c - e) / (m - e)
    rows = generator.integers(len(m), size=(4000, len(m)))
    return tuple(np.quantile(ratios[rows].mean(1), [0.025, 0.975]))


def of_pairs(model, circuit, nothing):
    m, c, e = map(np.asarray, (model, circuit, nothing))
    return tuple(np.quantile((c - e) / (m - e), [0.025, 0.975]))


def without_nothing(model, circuit, nothing):
    return interval(model, circuit, np.zeros(len(model)))


wrong = [three_draws, of_ratios, of_pairs, without_nothing, interval([1, 2], [1, 1], [0, 0])]


# %% tags=["solution"]
def interval(model, circuit, nothing):
    """A 95 % bootstrap interval of the recovered share."""
    m, c, e = map(np.asarray, (model, circuit, nothing))
    rows = np.random.default_rng(0).integers(len(m), size=(4000, len(m)))
    m, c, e = m[rows].mean(1), c[rows].mean(1), e[rows].mean(1)
    return tuple(np.quantile((c - e) / (m - e), [0.025, 0.975]))


answer = interval

# %% [markdown] tags=["slide"]
# ## 3. From effects to a circuit
#
# Without names: estimate the effect of all 300 heads and MLPs, and keep the largest.
#
# - `components.circuit(top=…)`, or `circuit(threshold=…)`.
# - `.curve(…)` keeps the first so many, beside random circuits of the same size.
# - Now MLPs that are not kept are ablated, too.

# %%
components = ls.attribution_patching(
    model,
    found.clean,
    found.corrupted,
    [ls.head_out, ls.mlp_out],
    found.metric,
    positions=ls.ALL,
)
ranked = components.circuit(top=160)
few = held[:3]
curve = ranked.curve(model, few.clean, few.corrupted, few.metric, sizes=[8, 24, 100], random=2)
print(curve)

# %% tags=["slide"]
curve.picture()

# %% tags=["claim"]
by_size = curve.frame().set_index("size")["recovered"]
assert abs(by_size[8]) < 0.05
assert by_size[24] < 0.4
assert 0.5 < by_size[100] < 0.95
assert curve.frame()["random_high"].max() < 0.1

# %% [markdown]
# Random circuits recover nothing at any size. But the eight largest recover nothing either, and it
# takes a hundred of 300 to bring some three quarters of the behaviour back. In this model and by
# this ranking, the circuit is not the handful that a heat map seems to promise; a list of the top
# ten would have been a poor claim.

# %% [markdown] tags=["exercise"]
# ### Exercise 10.2: what the estimate has missed
#
# **Goal** find out why the first eight do nothing · **Difficulty** ★☆☆ · **Minutes** 8
#
# A list by estimated effect is as good as the estimate. Run all MLPs **exactly**
# (`ls.activation_patching` with `ls.mlp_out`, `positions=ls.ALL`, on `found[:2]`) and find the MLP
# whose exact effect is largest. It is not among the eight. `answer` is its block, a number.
#
# <details><summary>Hint 1</summary><code>result.mean().effect</code> is the effect over both pairs,
# by layer.</details>
# <details><summary>Hint 2</summary><code>.to_series().idxmax()</code></details>

# %% tags=["wrong"]
guessed = components.mean().effect.sel(site="mlp_out", head=-1).to_series()
wrong = [guessed.idxmax(), guessed.abs().idxmin(), exact.idxmin(), answer + 1]

# %% tags=["solution"]
two = found[:2]
exact = (
    ls.activation_patching(
        model, two.clean, two.corrupted, ls.mlp_out, two.metric, positions=ls.ALL
    )
    .mean()
    .effect.to_series()
)
answer = exact.idxmax()

# %% [markdown]
# An estimate misses most where most is still to be computed (unit 8), and a circuit made of
# estimates inherits that.

# %% [markdown] tags=["slide"]
# ## 4. What is outside?
#
# "Everything else is ablated" is a choice. With or without MLPs, the same heads are another claim:
#
# - **heads alone**: all 30 MLPs go on answering to what the kept heads write;
# - **heads and MLPs**: an MLP that is no node is as in the corrupted run.

# %%
strongest = sorted(ranked.nodes, key=lambda node: -abs(ranked.nodes[node]))[:8]
choices = {
    "8 largest and MLP 0, other MLPs outside": [*strongest, ls.mlp_out(0)],
    "named heads and MLP 0, other MLPs outside": [*claim.nodes, ls.mlp_out(0)],
}
outcome = {"8 largest, MLPs outside": curve.frame().set_index("size")["recovered"][8]}
for name, chosen in choices.items():
    circuit_of = ls.Circuit(dict.fromkeys(chosen, 1.0), kinds=("head_out", "mlp_out"))
    on_few = circuit_of.faithfulness(model, few.clean, few.corrupted, few.metric)
    outcome[name] = on_few.recovered
outcome["named heads, no MLP outside"] = recovered(alone[:3])["named heads"]

# %% tags=["slide"]
pd.Series(outcome, name="recovered").round(2).to_frame()

# %% tags=["claim"]
assert abs(outcome["8 largest, MLPs outside"]) < 0.05
assert 0.03 < outcome["8 largest and MLP 0, other MLPs outside"] < 0.35
assert 0.2 < outcome["named heads and MLP 0, other MLPs outside"] < 0.55
assert outcome["named heads, no MLP outside"] > 0.6

# %% [markdown]
# The same heads, on the same pairs, are "most of it" or "about a third of it". Wang et al. ablate
# heads alone. Whoever says *faithful* must say what was allowed to help.

# %% [markdown] tags=["slide"]
# ## 5. Does each part help? Minimality
#
# Leave one group of the named heads out at a time. A part that changes nothing has no place in the
# circuit.

# %%
less_one = {
    f"without {name}": [head for head in circuit if head not in heads]
    for name, heads in named.items()
}
left = recovered(measured(found, {"all named heads": circuit} | less_one)).drop(
    ["model", "nothing"]
)

# %% tags=["slide"]
left.round(2).to_frame("recovered, on the pairs found")

# %% tags=["claim"]
change = left - left["all named heads"]
assert abs(change["without previous token"]) < 0.02
assert change["without S-inhibition"] < -0.2
assert change["without 23.3"] < -0.15
assert change[["without 24.4", "without 29.0"]].min() > 0.05

# %% [markdown]
# Two surprises:
#
# - **Previous-token heads** change nothing. The pair keeps what stands before every token except
#   S2, so what these heads write where it is needed (at S1+1) is the same in both runs: it is
#   there without being kept. A circuit holds only what *differs* between the two runs.
# - Without **24.4** or **29.0**, the circuit recovers *more*: they work against the answer.
#
# `claim.minimality(…)` asks this of each node, with other nodes removed at random, too. It gives
# the *size* of each change; the sign is lost.

# %%
one = found[:1]
minimal = claim.minimality(model, one.clean, one.corrupted, one.metric, subsets=0)
minimal.sort_values("change", ascending=False)[["node", "change", "share"]].head(8).round(2)

# %% tags=["claim"]
sizes = minimal.set_index("node")["change"]
assert sizes.idxmax() in ("head_out(23, 3)", "head_out(20, 0)", "head_out(24, 4)")
assert sizes[[f"head_out({h})" for h in ("1, 2", "2, 1", "11, 1", "16, 0")]].max() < 0.1

# %% [markdown] tags=["exercise"]
# ### Exercise 10.3: keep what helps
#
# **Goal** improve a circuit, and measure it where it was not improved · **Difficulty** ★★☆ ·
# **Minutes** 12
#
# Drop from the named heads every group without which the circuit does **no worse** (`left` is at
# most 0.01 lower than with all of them). Measure what remains on the **held-out** pairs.
# `answer` is the recovered share.
#
# <details><summary>Hint 1</summary><code>left[f"without {name}"] >= left["all named heads"] - 0.01
# </code></details>
# <details><summary>Hint 2</summary><code>recovered(measured(held, {"mine": heads}))["mine"]</code>
# </details>

# %% tags=["wrong"]
wrong = [
    share["named heads"],  # nothing dropped
    recovered(measured(found, {"mine": helping}))["mine"],  # on the pairs it was chosen on
    of_mine.mean()["mine"],  # a logit difference
    left.max(),  # the best that was seen
]

# %% tags=["solution"]
helping = [
    head
    for name, heads in named.items()
    if left[f"without {name}"] < left["all named heads"] - 0.01
    for head in heads
]
of_mine = measured(held, {"mine": helping})
answer = recovered(of_mine)["mine"]

# %% [markdown] tags=["slide"]
# ## 6. Does it break as the model breaks? Completeness
#
# A circuit that recovers 1 or more may still be the wrong one. Remove the same part $K$ from the
# circuit and from the model. If nothing outside stands in for $K$, the two come to the same:
#
# $$F(C \setminus K) \approx F(M \setminus K)$$
#
# Here $K$ are the three name movers.

# %%
name_movers = named["name movers"]
negatives = ("24.4", "29.0")
kept = {
    "model": every_head,
    "named heads": circuit,
    "named heads less 24.4, 29.0": [head for head in circuit if head not in negatives],
}
broken = {
    f"{name}, broken": [head for head in heads if head not in name_movers]
    for name, heads in kept.items()
}
of_each = measured(held, {name: kept[name] for name in list(kept)[1:]} | broken).mean()
losses = pd.DataFrame(
    {
        "whole": [of_each[name] for name in kept],
        "without name movers": [of_each[f"{name}, broken"] for name in kept],
    },
    index=list(kept),
)
losses["lost"] = losses["whole"] - losses["without name movers"]

# %% tags=["slide"]
losses.round(2)

# %% tags=["claim"]
lost = losses["lost"]
assert lost["named heads less 24.4, 29.0"] > lost["model"] + 0.7
assert 1.6 < lost["named heads less 24.4, 29.0"] / lost["model"] < 2.5
off = (losses["without name movers"] - losses.loc["model", "without name movers"]).abs()
assert off["named heads less 24.4, 29.0"] < off["named heads"]
assert losses["whole"].idxmax() == "named heads less 24.4, 29.0"
assert abs(lost["named heads"] - lost["model"]) < abs(
    lost["named heads less 24.4, 29.0"] - lost["model"]
)

# %% [markdown]
# The circuit without the heads that work against the answer scores higher, and is the poorer
# account of the model: without its name movers it loses twice as much as the model does, because
# the head that makes up for them (unit 9) is not in it. **Faithful means like the model, not better
# than it.**
#
# (The paper's own measure, $|F(C \setminus K) - F(M \setminus K)|$, says the opposite here: this
# circuit starts above the model and falls below it, and happens to end nearer. Look at all four
# numbers.)
#
# `claim.completeness(…)` draws such subsets at random:

# %%
complete = claim.completeness(model, one.clean, one.corrupted, one.metric, subsets=3)
complete[["circuit", "model", "difference"]].round(2)

# %% [markdown]
# The first line removes nothing: its difference is how far the circuit is from the model.

# %% tags=["claim"]
assert complete["removed"].iloc[0] == ""
assert len(complete) == 4

# %% [markdown] tags=["slide"]
# ## 7. What becomes of the rest: kinds of ablation
#
# Outside the circuit, each head gives what it gives
#
# - in the **corrupted** run of the same pair (a third name), or in another one (three other names),
# - on the **mean** of reference prompts, token by token,
# - or nothing: **zero**.
#
# The same 23 heads, the same clean prompts.

# %%
scene = "When {} and {} went to the store, {} gave a drink to"
people = [("Mary", "John", "Alice"), ("Sarah", "Peter", "Kate"), ("Laura", "James", "Emma")]
strangers = [
    ("Adam", "Diana", "Paul"),
    ("Nancy", "Simon", "Lucy"),
    ("Martin", "Karen", "Jason"),
    ("Julia", "Frank", "Scott"),
    ("Henry", "Linda", "Robert"),
    ("Rachel", "George", "Maria"),
]
alike = ls.pairs.Pairs(  # a mean token by token needs prompts of one template
    "one scene",
    [scene.format(io, subject, subject) for io, subject, _ in people],
    [scene.format(*names) for names in people],
    [(f" {io}",) for io, _, _ in people],
    [(f" {subject}",) for _, subject, _ in people],
    {},
)
reference = [scene.format(*names) for names in strangers]
kinds = {
    "corrupted: a third name": (alike.corrupted, {}),
    "corrupted: three other names": (reference[:3], {}),
    "mean of six prompts": (alike.corrupted, {"ablation": "mean", "reference": reference}),
}
verdicts = {
    name: claim.faithfulness(model, alike.clean, other, alike.metric, **how).recovered
    for name, (other, how) in kinds.items()
}

# %% tags=["slide"]
pd.Series(verdicts, name="recovered").round(2).to_frame()

# %% tags=["claim"]
assert 0.55 < verdicts["corrupted: a third name"] < 0.9
assert verdicts["mean of six prompts"] > verdicts["corrupted: a third name"] + 0.1
assert verdicts["corrupted: three other names"] > verdicts["corrupted: a third name"] + 0.1

# %% [markdown]
# Three quarters, or all of it: the verdict depends on what the rest is made to say. And the fourth
# kind, which is the easiest to write, is yours:

# %% [markdown] tags=["exercise"]
# ### Exercise 10.4: zero
#
# **Goal** ablate by hand, and doubt an ablation · **Difficulty** ★★☆ · **Minutes** 12
#
# Ablate by **zeros** all heads outside the 23 named ones, on the clean prompts of `alike`. With
# *nothing* meaning that all heads are zero, `answer` is the recovered share, a ratio of means over
# the three pairs, as above.
#
# <details><summary>Hint 1</summary><code>measured</code> is nearly it: <code>site(head).zero()
# </code> in place of a move, and no source.</details>
# <details><summary>Hint 2</summary>Three rows for each prompt: no patches, all heads zero, all but
# the circuit's zero.</details>

# %% tags=["wrong"]
ends = measured(alike, {}).mean()
mean = pd.DataFrame(rows).mean()
wrong = [
    verdicts["corrupted: a third name"],
    mean[2] / mean[0],  # a share of the model, not of what zeros take
    (mean[2] - ends["nothing"]) / (ends["model"] - ends["nothing"]),  # another nothing
    mean[2],
]

# %% tags=["solution"]
zeros = [site(head).zero() for head in every_head]
others = [site(head).zero() for head in every_head if head not in circuit]
rows = []
for i in range(len(alike)):
    right, wrong_name = (model.to_single_token(a[i][0]) for a in (alike.correct, alike.wrong))
    logits = ls.run_many(model, alike.clean[i], [[], zeros, others]).logits[:, -1]
    rows.append((logits[:, right] - logits[:, wrong_name]).tolist())
whole, empty, kept_alone = np.mean(rows, axis=0)
answer = (kept_alone - empty) / (whole - empty)

# %% [markdown] tags=["notes"]
# With zeros, the circuit that recovered three quarters or more recovers nothing at all: two hundred
# and forty-seven heads that give nothing are a state that the model has never been in (the
# attention sinks go, too). A zero is not "neutral"; it is a value like another, far from all those
# that heads have. Do not conclude that means are right: a mean lies between the states, and may be
# as strange. The honest course is to report more than one.

# %% [markdown] tags=["slide"]
# ## 8. Who tells whom?
#
# A circuit has edges. **Path patching** lets *one receiver* see a sender as it is in the other run,
# with everything else as it was.
#
# - Receivers: a head's queries, keys, values; an MLP's input; the logits.
# - It is exact, since the residual stream is a sum.

# %%
clean, corrupted = (scene.format("Mary", "John", name) for name in ("John", "Alice"))
metric = ls.logit_difference(" Mary", " John")
late = [site(head) for head in circuit if int(head.split(".")[0]) >= 17]
told = ls.path_patching(
    model,
    clean,
    corrupted,
    late,
    [ls.v(20, 0), ls.q(23, 0), ls.q(24, 4), "logits"],
    metric,
)
told.top(12).round(2)

# %% tags=["claim"]
path = told.data.effect.squeeze("pair")


def of_path(block, head, receiver):
    return float(path.sel(layer=block, head=head, receiver=receiver))


assert of_path(17, 4, "v(20, 0)") > 0.05  # induction tells S-inhibition, by values
assert min(of_path(20, 0, "q(23, 0)"), of_path(19, 2, "q(23, 0)")) > 0.05
assert max(of_path(23, 0, "q(24, 4)"), of_path(23, 1, "q(24, 4)")) < -0.1
assert of_path(23, 3, "logits") > 0.4
assert of_path(29, 1, "logits") > 0.2
assert abs(of_path(20, 0, "logits")) < 0.1

# %% [markdown]
# The ledger of unit 9, now as paths: an induction head tells an S-inhibition head by its values;
# S-inhibition heads tell name movers by their queries, and the logits next to nothing; name movers
# tell the logits, and the queries of 24.4, which then looks at what they wrote and writes against
# it. And half of the effect goes from 23.3 straight to the logits.
#
# `Circuit.grow` does this from the logits backwards: what reaches them, what reaches the queries,
# keys, values of those, and so on.

# %%
grown = ls.Circuit.grow(model, clean, corrupted, metric, 0.05, senders=late)

# %% tags=["slide"]
grown.picture()

# %% tags=["claim"]
assert {ls.head_out(23, 3), ls.head_out(20, 0), ls.head_out(24, 4)} <= set(grown.nodes)
assert grown.edges[ls.head_out(20, 0), ls.q(23, 0)] > 0.05
assert grown.edges[ls.head_out(23, 0), ls.q(24, 4)] < -0.1
assert grown.edges[ls.head_out(23, 0), "logits"] > 0.1
assert abs(grown.nodes[ls.head_out(23, 0)]) < 0.05

# %% [markdown]
# Read it from below: blue helps, red (dashed) hurts; a path enters a head at the left for queries,
# in the middle for keys, at the right for values. The colour of a node is the sum of its paths, and
# a sum can hide: 23.0 helps at the logits and hurts through 24.4, and is nearly white.
#
# `connected` finds the paths *between given nodes*:

# %%
three = (ls.head_out(20, 0), ls.head_out(23, 0), ls.head_out(24, 4))
given = ls.Circuit({node: grown.nodes[node] for node in three})
given = given.connected(model, clean, corrupted, metric, threshold=0.05)
given.picture()

# %% [markdown]
# `inspect` puts words on nodes: what a lens or a patchscope makes of the vector that each of them
# writes at the last token. The control is the same in a scene with other names.

# %%
lens, scope = ls.LogitLens(), ls.Patchscope.token_identity(max_new_tokens=2)
said = {
    "logit lens": grown.inspect(lens, model, clean).words,
    "the same, Sarah and Peter": grown.inspect(
        lens, model, scene.format("Sarah", "Peter", "Peter")
    ).words,
    "patchscope": grown.inspect(scope, model, clean).words,
}
words = pd.DataFrame(said)

# %% tags=["slide"]
words.rename_axis("what it writes, in words")

# %% tags=["claim"]
for head in (ls.head_out(23, 0), ls.head_out(29, 1)):
    assert "Mary" in words.loc[[head], "logit lens"].item()
    assert "Sarah" in words.loc[[head], "the same, Sarah and Peter"].item()
quiet = words.drop([ls.head_out(23, 0), ls.head_out(29, 1)])
assert not quiet["logit lens"].str.contains("Mary|John").any()
assert "Mary" in words.loc[[ls.head_out(29, 1)], "patchscope"].item()

# %% [markdown]
# Two heads write a name that can be read, and the control says that it is the prompt's own. The
# others do their work in vectors that say nothing, and whatever words a lens or patchscope finds
# for them are noise. A circuit drawn with words on all its nodes would look more convincing than
# this one, and be worth less.
#
# `grown.to_html("circuit.html")`, `.to_graphml`, `.to_networkx()`, `.to_json`: the circuit
# elsewhere. `lensscope circuit --pairs ioi --n 20 --top 20 --edges --curve --words` does all of
# this from a terminal.

# %% [markdown] tags=["exercise"]
# ### Exercise 10.5: through whom?
#
# **Goal** test a mechanism, not a component · **Difficulty** ★★★ · **Minutes** 15
#
# The name "S-inhibition" says more than that 20.0 matters: it says that 20.0 works *through the
# queries of the name movers*. Measure the effect of head 20.0 on the paths that lead to the queries
# of 23.0, 23.1 and 23.7, these three receivers seeing it **together**, in the scene above
# (`clean`, `corrupted`, `metric`). `answer` is that effect. Then set it beside the whole effect of
# 20.0 by activation patching: how much of it is explained?
#
# <details><summary>Hint 1</summary>A list of receivers makes each a cell; a <em>mapping</em> from a
# name to a list of receivers lets them see the sender together.</details>
# <details><summary>Hint 2</summary><code>{"name movers": [ls.q(23, 0), …]}</code></details>

# %% tags=["wrong"]
sender = ls.head_out(20, 0)
single = ls.path_patching(
    model, clean, corrupted, sender, [ls.q(23, 0), ls.q(23, 1), ls.q(23, 7)], metric
)
alone = single.data.effect.squeeze().to_series()
whole_effect = ls.activation_patching(
    model, clean, corrupted, sender, metric, positions=ls.ALL
).data.effect.item()
wrong = [alone["q(23, 0)"], alone.sum(), whole_effect, answer / whole_effect]

# %% tags=["solution"]
movers = {"name movers": [ls.q(23, head) for head in (0, 1, 7)]}
through = ls.path_patching(model, clean, corrupted, ls.head_out(20, 0), movers, metric)
answer = through.data.effect.item()

# %% [markdown] tags=["slide"]
# ## 9. What a claim costs
#
# "These heads do it" rests on
#
# - **pairs**: how many, which corruption, and not those the heads were found on;
# - **outside**: heads alone, or MLPs too; ablated by what;
# - **a number**: recovered, with its interval, beside random circuits;
# - **minimality and completeness**: no passengers, and it breaks as the model breaks.

# %% [markdown]
# One item of that list is left: how far does the *list of heads* depend on the pairs? Here are the
# 23 heads of the largest estimated effects, on the three pairs `found` and on three of those held
# out.

# %%
again = ls.attribution_patching(
    model, few.clean, few.corrupted, ls.head_out, few.metric, positions=ls.ALL
)
heads_only = components.mean().effect.sel(site="head_out").to_series().dropna()
lists = {
    name: {f"{n}.{head}" for n, head in effects.abs().nlargest(len(circuit)).index}
    for name, effects in (("found", heads_only), ("held", again.mean().effect.to_series()))
}
shared = lists["found"] & lists["held"]
by_effect = recovered(measured(few, {"largest effects": lists["found"]}))["largest effects"]
print(f"{len(shared)} of {len(circuit)} heads are in both lists")
print(f"{len(lists['found'] & set(circuit))} of the named heads are in the first")
by_name = outcome["named heads, no MLP outside"]
print(f"recovered on held-out pairs: {by_effect:.2f}, by the named heads {by_name:.2f}")

# %% tags=["claim"]
assert 9 <= len(shared) <= 20
assert len(lists["found"] & set(circuit)) <= 15
assert by_effect < by_name - 0.2
assert len(lists["found"] & set(named["duplicate token"])) <= 2
gone = -change["without duplicate token"] / left["all named heads"]
assert 0.2 < gone < 0.45

# %% [markdown]
# Two sets of pairs of the same task do not agree on the list. And as many heads by the size of
# their effects do far less than those that were found one by one in unit 9, by what they look at,
# what they write, and what breaks without them. Of the six duplicate-token heads, next to none are
# in the list by effect: each of them does little alone (an **and** or an **or**, unit 8), and
# without all six a third of the circuit's work is gone. In this model, understanding still beats
# ranking.

# %% [markdown] tags=["notes"]
# Let each student write one sentence that claims something about the 23 heads, with all it rests
# on. For instance: "On 4 held-out pairs, with the other heads as in prompts with a third name and
# all MLPs free, the 23 heads recover about four fifths of the logit difference (the interval is two
# fifths wide); of four random circuits of 23 heads the best recovers less than a half of that." It
# is not a catchy sentence. That is what a claim costs.
