# ---
# title: Compared with what?
# goals:
#   - name five controls, and say of each which explanation of a result it rules out
#   - choose a layer on one half of the items, score it on the other half, and say why
#   - put an interval on a proportion and on a paired difference
#   - judge descriptions by ROUGE-L and by ranks, and say where each of them deceives
#   - say what the entity-resolution study shows on this model, and what it does not
# readings:
#   - "Ghandeharioun, Caciularu, Pearce, Dixon, Geva 2024, *Patchscopes* (ICML; arXiv 2401.06102),
#     section 4.3"
#   - "Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim 2018, *Sanity Checks for Saliency Maps*
#     (NeurIPS; arXiv 1810.03292)"
#   - "Kriegeskorte, Simmons, Bellgowan, Baker 2009, *Circular analysis in systems neuroscience:
#     the dangers of double dipping* (Nature Neuroscience 12)"
#   - "Clopper, Pearson 1934, *The use of confidence or fiducial limits illustrated in the case of
#     the binomial* (Biometrika 26)"
# class:
#   - [5, "Section 1: an anecdote about Diana"]
#   - [20, "Section 2: five controls, and Exercise 6.1"]
#   - [20, "Section 3: the best of many, and Exercises 6.2 and 6.3"]
#   - [20, "Section 4: intervals, and Exercise 6.4"]
#   - [15, "Section 5: the study, ties, and what ROUGE-L misses"]
#   - [10, "Sections 6 and 7: a judge without ties, and Exercise 6.5"]
# scene:
#   prompt: "I have read about Diana, Princess of Wales"
#   position: -1
#   says: "Open the last token at layers 4, 12 and 24. Which words does the state share with the
#     mean state, and which are its own?"
# ---

# %% [markdown] tags=["slide"]
# ## 1. An anecdote
#
# *Diana, Princess of Wales* ends in ` Wales`, a country. Somewhere on its way up, the state of the
# last token must stop to mean the country and begin to mean the princess.
#
# The Patchscopes paper (section 4.3) lets the model say when.

# %%
import math
from itertools import pairwise

import numpy as np
import pandas as pd
import torch

import lensscope as ls
from lensscope.stats.distributions import student
from lensscope.stats.intervals import proportion
from lensscope.studies.controls import of_no_item
from lensscope.studies.scoring import rouge_l

pd.set_option("display.max_colwidth", 90)
model = ls.load_model()  # SmolLM2-135M-Instruct, 30 layers, from a file of 4-bit weights
scope = ls.Patchscope.entity_description(max_new_tokens=8)

# %% tags=["slide"]
diana = scope.inspect(
    model, "Diana, Princess of Wales", layers=[0, 4, 8, 12, 16, 20, 24], target_layers="same"
)
diana.frame().set_index("source_layer")[["text"]]

# %% [markdown]
# At first a country, then Wales, then something royal, in the end only the placeholder and its
# commas: the contamination of unit 5. It reads like a discovery. But it is one name, and nothing
# beside it. This unit is about what has to stand beside it before it is one:
#
# - other things that could have been **written** (controls),
# - items on which the layer was **not chosen** (held-out),
# - how far **other items** would have moved the number (intervals),
# - and a **judge** that can be wrong.

# %% tags=["claim"]
said = diana.frame().set_index("source_layer")["text"]
assert "Country" in said[0]
assert "Wales" in said[4]
assert "Queen" in said[12]
assert said[24].count("x") >= 2

# %% [markdown] tags=["slide"]
# ## 2. Five controls, five questions
#
# | written instead | so the result is not due to … |
# | --- | --- |
# | nothing | the inspection prompt |
# | a random vector | any vector of that length |
# | a vector **drawn** as states are spread | anything that lies where states lie |
# | the **mean** state | what all names share |
# | **another name's** state | being a state of some name |

# %% [markdown]
# From top to bottom they get harder to beat, and each is another *null hypothesis*. A claim is as
# strong as the hardest control that it was compared with. lensscope's studies have all five, and
# say so:

# %%
entities = ls.studies.entities(limit=30)
pd.DataFrame([vars(entity) for entity in entities]).head(6)

# %% [markdown]
# Each name comes with a reference, and with the **unresolved reading**: what the last word of the
# name alone means. Now the five controls of these thirty names after block 12, by hand.

# %%
site = ls.resid_post(12).at(-1)
states = torch.cat([ls.capture(model, entity.name, site)[site][0] for entity in entities])
print("states:", tuple(states.shape))

# %% [markdown] tags=["exercise"]
# ### Exercise 6.1: a state of nobody
#
# **Goal** build the control that lies where states lie · **Difficulty** ★★☆ · **Minutes** 12
#
# Write a function `drawn(states, seed)` that draws **one** vector from the normal distribution with
# the states' own mean and covariance. `states` is `[name, width]`, and may have far fewer names
# than numbers in each (30 and 576 here), so that the covariance matrix has no inverse. `answer` is
# the function.
#
# <details><summary>Hint 1</summary>A sum of vectors, each with an independent normal weight, is
# normal. The mean, and a random combination of how far each state is from it, will do: no matrix
# has to be made. </details>
#
# <details><summary>Hint 2</summary>With weights of variance 1 the covariance of $\sum_i w_i (h_i -
# \bar h)$ is $\sum_i (h_i - \bar h)(h_i - \bar h)^\top$. What is missing to make it the covariance
# of the states?</details>


# %% tags=["stub"]
def drawn(states, seed): ...


answer = ...  # drawn


# %% tags=["wrong"]
def each_number_alone(states, seed):
    noise = torch.randn(states.shape[1], generator=torch.Generator().manual_seed(seed))
    return states.mean(0) + noise * states.std(0)


def without_the_mean(states, seed):
    return drawn(states, seed) - states.mean(0)


def not_scaled(states, seed):
    weights = torch.randn(len(states), generator=torch.Generator().manual_seed(seed))
    return states.mean(0) + weights @ (states - states.mean(0))


def one_of_them(states, seed):
    return states[seed % len(states)]


wrong = [each_number_alone, without_the_mean, not_scaled, one_of_them, drawn(states, 0)]


# %% tags=["solution"]
def drawn(states, seed):
    weights = torch.randn(len(states), generator=torch.Generator().manual_seed(seed))
    away = states - states.mean(0)
    return states.mean(0) + weights @ away / math.sqrt(len(states) - 1)


answer = drawn

# %% [markdown]
# Let the model describe all of them. `of_no_item` is what lensscope's own studies draw with.

# %%
nobody = of_no_item(states[:, None], len(states), 3, 0)
vectors = {
    "Diana": states[0],
    "New York City": states[1],
    "the mean state": nobody["mean"][0],
    **{f"drawn {n}": vector[0] for n, vector in enumerate(nobody["drawn"])},
    **{f"random {n}": vector[0] for n, vector in enumerate(nobody["random"])},
}
described = scope.inspect(model, vectors, target_layers=[12]).frame().set_index("prompt")
mean = nobody["mean"][0]
described["length"] = [round(vector.norm().item()) for vector in vectors.values()]
described["cosine with the mean"] = [
    round(torch.cosine_similarity(vector, mean, dim=0).item(), 2) for vector in vectors.values()
]

# %% tags=["slide"]
described[["length", "cosine with the mean", "text"]]

# %% [markdown]
# The **random vectors** are as long as states and point where no state points: their cosine with
# the mean is about 0, that of states above 0.6. What is said of them mostly does not even have the
# form of a description. It is easy to be better than that.
#
# The **drawn vectors** lie where states do, and the model describes them as fluently as names: a
# chain of restaurants, *an American film franchise*. This is what unit 5 read from Jurassic Park,
# and this vector is the state of nobody and nothing. *A fluent description is no sign that
# something was there to be described.*

# %% tags=["claim"]
cosines = described["cosine with the mean"]
assert cosines[["drawn 0", "drawn 1", "drawn 2"]].min() > 0.6
assert torch.cosine_similarity(states, mean[None]).min() > 0.6
assert cosines[["random 0", "random 1", "random 2"]].abs().max() < 0.15
like = described["text"].str.startswith(": ")
assert like[["Diana", "New York City", "the mean state"]].all()
assert like[["drawn 0", "drawn 1", "drawn 2"]].sum() >= 2
assert like[["random 0", "random 1", "random 2"]].sum() <= 1
assert "restaurant" in described["text"]["drawn 0"]
assert "American film franchise" in described["text"]["drawn 1"]

# %% [markdown] tags=["notes"]
# Ask which control a reviewer would ask for. Many a paper stops at the first or the second; the
# last two are the ones that hurt. For a probe or a steering vector the same ladder holds: nothing,
# a random direction, a direction drawn from the data's covariance, the mean, another concept's
# direction.

# %% [markdown] tags=["slide"]
# ## 3. The best of many
#
# A sweep over 30 source layers, or 30 × 30 pairs, ends in one sentence: *"at the best layer, …"*
#
# How good is the best of many cells **in which there is nothing**?

# %% [markdown]
# Take 20 names, and a reader that is right by luck, one time in ten. Each cell is such a reader. A
# single cell, and the best of 30:

# %%
rng = np.random.default_rng(0)
luck = rng.random((2000, 20, 30)) < 0.1  # studies x names x cells
shares = luck.mean(1)  # of each study, the share of names that each cell gets right
scale = np.arange(21) / 20
of_one = [np.mean(shares[:, 0] == s) for s in scale]
of_best = [np.mean(shares.max(1) == s) for s in scale]
print(f"one cell: {shares[:, 0].mean():.2f} on average; the best of 30: {shares.max(1).mean():.2f}")

# %% tags=["slide"]
ls.course.lines(
    {"one cell": of_one[:13], "the best of 30 cells": of_best[:13]},
    title="Pure luck: 20 names, each right one time in ten",
    x="share of names that are right",
    y="share of simulated studies",
    at=scale[:13],
)

# %% [markdown]
# Real cells are not independent, since neighbouring layers say much the same; so luck has fewer
# tries than there are cells, and the simulation is the worst case. It costs three lines.

# %% tags=["claim"]
assert 0.09 < shares[:, 0].mean() < 0.11
assert 0.23 < shares.max(1).mean() < 0.28

# %% [markdown] tags=["exercise"]
# ### Exercise 6.2: the best of nine hundred
#
# **Goal** know what luck can do before believing a maximum · **Difficulty** ★☆☆ · **Minutes** 6
#
# As above, 20 names, each right one time in ten in each cell, but with all 30 × 30 pairs of layers.
# What share of the names does the **best** cell get right, on average over many simulated studies?
# `answer` is that number, to within 0.01.
#
# <details><summary>Hint 1</summary>Two hundred simulated studies are enough. <code>rng.binomial(20,
# 0.1, (200, 900))</code> draws the numbers of hits directly.</details>
#
# <details><summary>Hint 2</summary>First the maximum over cells of each study, then the mean over
# studies: not the other way round.</details>

# %% tags=["wrong"]
wrong = [
    float((rng.binomial(20, 0.1, (200, 900)) / 20).mean()),  # the mean of all cells
    float((rng.binomial(20, 0.1, (200, 900)) / 20).mean(0).max()),  # the other way round
    float((rng.binomial(20, 0.1, (500, 30)) / 20).max(1).mean()),  # thirty cells
    float((rng.binomial(20, 0.1, (200, 900)) / 20).max()),  # the best of all studies
    7.3,  # names, not their share
]

# %% tags=["solution"]
hits = np.random.default_rng(1).binomial(20, 0.1, (1000, 900))
answer = float(hits.max(1).mean() / 20)

# %% [markdown] tags=["slide"]
# ## Choose on one half, score on the other
#
# Choosing is not forbidden. **Scoring on the items that one has chosen on** is ("double dipping").
#
# 1. Split the items at random.
# 2. On one half, find the best cell.
# 3. On the other half, score *this* cell. Report that, with how many items it is of.
# 4. Controls are scored at the same cell.

# %% [markdown] tags=["exercise"]
# ### Exercise 6.3: held-out
#
# **Goal** score a cell where it was not chosen · **Difficulty** ★★☆ · **Minutes** 10
#
# Write a function `held_out(hits)`. `hits` is an array `[item, cell]` of 0 and 1, with an even
# number of items. The first half of the items chooses the cell with the most hits, the first of
# equally good ones; the function returns a pair: the number of this cell, and the share of hits
# that it has on the **second** half. `answer` is the function.
#
# <details><summary>Hint 1</summary><code>np.argmax</code> gives the first of equal ones.</details>
#
# <details><summary>Hint 2</summary>Sum over items, which is the first axis; a cell is a
# column.</details>


# %% tags=["stub"]
def held_out(hits): ...


answer = ...  # held_out


# %% tags=["wrong"]
def chosen_on_all(hits):
    cell = int(np.argmax(hits.sum(0)))
    return cell, float(hits[len(hits) // 2 :, cell].mean())


def scored_where_chosen(hits):
    half = hits[: len(hits) // 2]
    return int(np.argmax(half.sum(0))), float(half.mean(0).max())


def best_of_the_other_half(hits):
    half = hits[len(hits) // 2 :]
    return held_out(hits)[0], float(half.mean(0).max())


def last_of_equal_ones(hits):
    sums = hits[: len(hits) // 2].sum(0)
    cell = int(np.flatnonzero(sums == sums.max())[-1])
    return cell, float(hits[len(hits) // 2 :, cell].mean())


called = held_out(np.eye(4))
wrong = [
    chosen_on_all,
    scored_where_chosen,
    best_of_the_other_half,
    last_of_equal_ones,
    called,
]


# %% tags=["solution"]
def held_out(hits):
    half = len(hits) // 2
    cell = int(np.argmax(hits[:half].sum(0)))
    return cell, float(hits[half:, cell].mean())


answer = held_out

# %% [markdown]
# The same on the studies of luck above: chosen and scored on ten names, and then the same cell on
# the other ten.

# %%
chosen = luck[:, :10].mean(1).argmax(1)
each = np.arange(len(luck))
where_chosen = luck[each, :10, chosen].mean()
elsewhere = luck[each, 10:, chosen].mean()
print(f"where it was chosen: {where_chosen:.2f}; on the other half: {elsewhere:.2f}")

# %% [markdown]
# On the other half, luck is what it is: one in ten. The price is that only half the items are
# scored. Where there are fewer than twenty, lensscope chooses anew for each of ten parts on the
# others, so that each item is scored once; and where no cell gets anything right, it says *no cell
# chosen* instead of naming the first of many zeros.

# %% tags=["claim"]
assert where_chosen > 0.28
assert 0.09 < elsewhere < 0.11

# %% [markdown] tags=["slide"]
# ## 4. How far would other items have moved it?
#
# 20 of 20 names are right. How sure is that?
#
# The usual recipe is the **bootstrap**: draw 20 of the 20 again, many times, and take the middle 95
# %.

# %%
all_right = np.ones(20)
again = rng.choice(all_right, (2000, 20)).mean(1)
print("bootstrap:         ", np.percentile(again, [2.5, 97.5]))
low, high = proportion(20, 20)
print("Clopper and Pearson:", [round(float(low), 2), round(float(high), 2)])

# %% [markdown]
# The bootstrap is certain: from 1 to 1. It can only draw what it has seen, and it has seen no miss.
# Yet if nine names in ten were right, 20 of 20 would still come up one time in eight ($0.9^{20} =
# 0.12$).
#
# **Clopper and Pearson 1934** ask another question: *for which true shares would what we saw not be
# surprising?* An interval is good if it *covers*: if in 95 of 100 studies the true share is in it.
# This can be worked out.

# %% tags=["claim"]
assert again.min() == 1
assert 0.82 < low < 0.84
assert round(0.9**20, 2) == 0.12

# %%
n = 20
naive = [np.percentile(rng.binomial(n, k / n, 4000) / n, [2.5, 97.5]) for k in range(n + 1)]
exact = [proportion(k, n) for k in range(n + 1)]


def coverage(intervals, share):
    """How often an interval of n items has the true share in it."""
    chances = [math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(n + 1)]
    inside = [a - 1e-9 <= share <= b + 1e-9 for a, b in intervals]
    return sum(c for c, covers in zip(chances, inside, strict=True) if covers)


truths = np.linspace(0.5, 0.99, 50)
covered = {
    "bootstrap": [coverage(naive, p) for p in truths],
    "Clopper and Pearson": [coverage(exact, p) for p in truths],
    "what 95 % promises": [0.95] * len(truths),
}

# %% tags=["slide"]
ls.course.lines(
    covered, title="Do 95 % intervals cover, at 20 items?", x="true share", y="coverage", at=truths
)

# %% [markdown]
# At a true share of 0.95 the bootstrap's "95 %" interval misses it in more than three of ten
# studies, at 0.98 in more than six of ten; the other never falls below what it promises (and is
# wider than it would need to be). Accuracies near 0 or 1, of a few dozen items, are common in
# interpretability.

# %% tags=["claim"]
assert coverage(naive, 0.95) < 0.7
assert coverage(naive, 0.98) < 0.4
assert min(covered["Clopper and Pearson"]) > 0.949


# %%
def at_least(k, n, p):
    """The probability of k or more hits of n, each with probability p."""
    return sum(math.comb(n, j) * p**j * (1 - p) ** (n - j) for j in range(k, n + 1))


# %% [markdown] tags=["exercise"]
# ### Exercise 6.4: Clopper and Pearson by hand
#
# **Goal** make an interval from its definition · **Difficulty** ★★★ · **Minutes** 15
#
# Write a function `interval(hits, n)` that gives the 95 % interval of Clopper and Pearson as a pair
# `(low, high)`:
#
# - `low` is the share $p$ at which seeing `hits` **or more** of `n` has the probability 0.025; 0
#   where `hits` is 0;
# - `high` is the share $p$ at which seeing `hits` **or fewer** has the probability 0.025; 1 where
#   `hits` is `n`.
#
# To within 0.002. `answer` is the function. (`at_least(k, n, p)` above is the probability of `k` or
# more.)
#
# <details><summary>Hint 1</summary><code>at_least(hits, n, p)</code> grows with $p$. Try
# <code>np.linspace(0, 1, 1001)</code>, or halve an interval again and again.</details>
#
# <details><summary>Hint 2</summary><code>hits</code> or fewer is the opposite of <code>hits +
# 1</code> or more.</details>


# %% tags=["stub"]
def interval(hits, n): ...


answer = ...  # interval


# %% tags=["wrong"]
def normal(hits, n):
    share = hits / n
    half = 1.96 * math.sqrt(share * (1 - share) / n)
    return max(share - half, 0.0), min(share + half, 1.0)


def one_sided(hits, n):
    shares = np.linspace(0, 1, 2001)
    low = min(p for p in shares if at_least(hits, n, p) >= 0.05) if hits else 0.0
    high = max(p for p in shares if 1 - at_least(hits + 1, n, p) >= 0.05) if hits < n else 1.0
    return float(low), float(high)


def off_by_one(hits, n):
    return interval(hits, n)[0], interval(max(hits - 1, 0), n)[1]


def bootstrap(hits, n):
    drawn = np.random.default_rng(0).binomial(n, hits / n, 5000) / n
    return tuple(np.percentile(drawn, [2.5, 97.5]))


called = interval(20, 20)
wrong = [normal, one_sided, off_by_one, bootstrap, called]


# %% tags=["solution"]
def crossing(rises):
    """Where a function that rises with p reaches 0.025."""
    low, high = 0.0, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if rises(middle) >= 0.025 else (middle, high)
    return low


def interval(hits, n):
    low = crossing(lambda p: at_least(hits, n, p)) if hits else 0.0
    # the same for misses, seen from the other side
    high = 1 - crossing(lambda p: at_least(n - hits, n, p)) if hits < n else 1.0
    return low, high


answer = interval

# %% [markdown] tags=["slide"]
# ## 5. The study
#
# Thirty names of six kinds, three layers. Each description is scored by **ROUGE-L** (the longest
# common subsequence of words) with the name's reference.
#
# A cell **resolves** a name where the description is nearer to the name's own reference than to
# that of *every* other name, and than to what the last word alone means. A tie is a miss.

# %%
study = ls.studies.entity_resolution(
    model,
    entities,
    layers=[4, 12, 20],
    inspection=scope,
    max_new_tokens=8,
    random_draws=1,
)
result = study.run()
print(result)

# %% [markdown]
# `result.texts` has what was said, and how it was scored.

# %%
result.texts("Jurassic Park", condition="state")[
    ["source_layer", "text", "rouge_reference", "rouge_unresolved", "resolved"]
].round(2)

# %% [markdown]
# Layer 12 is right. But look at layer 4: `a: Japanese film noir` is said of something that begins
# with ` Parka`, unit 5 called it an accident, and here it counts as resolved, since *film* happens
# to be nearest to this reference. A verdict is as good as its judge; we come back to that.

# %% tags=["claim"]
park = result.texts("Jurassic Park", condition="state").set_index("source_layer")
assert park["resolved"][12] == 1
assert "noir" in park["text"][4]
assert park["resolved"][4] == 1

# %% [markdown]
# `target_layers="same"` is the study's default: a state is written at the layer that it was read
# at, as in the paper. The controls, and which null each of them is:

# %%
result.tables["controls"].set_index("control")

# %% tags=["slide"]
resolved = result.data.resolved.squeeze().to_pandas()
resolved.round(2)

# %% [markdown]
# Over all thirty names, the states resolve more at layers 4 and 12 than any control does. It looks
# well. Now the **held-out line** of the printed table. The layer that was chosen on fifteen names
# resolves a few of the other fifteen, and the interval of its *lift* (how far the state is above
# the largest control) goes far below zero, and far above. **Nothing is shown**, neither that there
# is something nor that there is not: fifteen names are few.

# %% tags=["claim"]
middle = resolved[[4, 12]]
assert (middle.loc["state"] > middle.drop("state").max()).all()
assert resolved.loc["state", 20] == 0
held = result.headline.set_index("way").loc["best fixed layer"]
assert held["items"] == 15
assert held["state"] < 0.3
assert held["lift_low"] < -0.1
assert held["lift_high"] > 0.2

# %% [markdown]
# And layer 20 resolves none. That need not be the model: unit 5 showed that a state written so late
# does not get through.
#
# The whole study is of sixty names at fifteen layers, and takes about three minutes on two cores:
#
# ```python
# print(ls.studies.entity_resolution(
#     model, ls.studies.entities(limit=60), layers=range(0, 30, 2), inspection=scope,
#     max_new_tokens=12).run())
# ```
#
# It prints, for layer 12, chosen on one half, 0.13 [0.04, 0.31] of the other half, against 0 of
# every control, and a lift of 0.13 [-0.02, 0.31]: more, and still not surely above zero. At *some*
# layer 0.27 [0.12, 0.46] are resolved, against 0.07 of the best control with as many tries; the
# interval of that lift begins at 0.00.

# %% [markdown] tags=["slide"]
# ## One text for all
#
# Why must a description be nearest to its own reference among *all*? Take ROUGE-L with the own
# reference alone, averaged over names.

# %%
rouge = result.data.rouge_reference.squeeze().to_pandas()
references = [entity.reference for entity in entities]
slogan = "Member of the royal family in the United States"
of_slogan = np.mean([rouge_l(slogan, reference) for reference in references])

# %% tags=["slide"]
print(f"one slogan for all thirty names: {of_slogan:.2f}  ({slogan!r})")
rouge.round(2)

# %% [markdown]
# At layer 4 the **mean state**, of which one and the same text is said for all thirty names, does
# about as well as their own states. A slogan that is true of nobody does better at layer 4, and
# nearly as well as the states at their best: *the*, *in*, *of* and *United States* are in many
# references. (It was made up to please them. That is how little it takes.) A score without its
# control would have been a result.
#
# ROUGE-L sees words, not meaning:

# %% tags=["claim"]
assert of_slogan > 0.09
assert rouge.loc["mean", 4] > 0.8 * rouge.loc["state", 4]
assert of_slogan > rouge.loc["state", 4] + 0.01
assert of_slogan > 0.85 * rouge.loc["state"].max()

# %%
park = entities[3]
attempts = [
    "American science fiction film about cars",
    "American film franchise",
    "Movie in which cloned prehistoric reptiles escape",
]
pd.DataFrame(
    {"description": attempts, "ROUGE-L": [round(rouge_l(a, park.reference), 2) for a in attempts]}
)

# %% [markdown]
# For `American science fiction film about dinosaurs` the wrong film gets more than 0.8, and a
# description that everybody would accept gets 0. (`similarity="path/to/a/sentence-model"` scores by
# the cosine of sentence vectors beside it, if you have such a model.)

# %% tags=["claim"]
assert park.reference == "American science fiction film about dinosaurs"
assert rouge_l(attempts[0], park.reference) > 0.8
assert rouge_l(attempts[1], park.reference) < 0.5
assert rouge_l(attempts[2], park.reference) == 0

# %% [markdown]
# **Ties** are the other trap. With nothing written, the description shares no word with any
# reference: 0 to 0 to 0. Who wins?

# %%
parts = pd.concat(result.cells())
untouched = parts[parts["condition"] == "prior"]["text"].iloc[0]
scores = np.array([rouge_l(untouched, reference) for reference in references])
as_hits = np.mean([own >= scores.max() for own in scores])
as_misses = np.mean([own > np.delete(scores, n).max() for n, own in enumerate(scores)])
print(f"{untouched!r} resolves {as_misses:.0%} of the names; with ties as hits, {as_hits:.0%}")

# %% tags=["claim"]
assert scores.max() == 0
assert as_misses == 0
assert as_hits == 1

# %% [markdown] tags=["notes"]
# `>=` in place of `>` turns the emptiest control into a perfect score. Let students find such a
# line in a repository that they know. The same holds of argmax over equal values, and of "best
# cell" where all cells are 0.

# %% [markdown] tags=["slide"]
# ## 6. A judge without ties
#
# Greedy text throws nearly all away: thousands of probabilities become one word.
#
# Ask instead: **how probable is the reference**, as the description of what is written?
#
# $$s(\text{state}, \text{reference}) = \log p(\text{reference} \mid \dots\ \mathbf{x}\text{:}\ )$$
#
# For every state and *every* reference. Then a name's own one has a rank.

# %% [markdown]
# Twelve names, two of each kind, each behind a lead-in (so that no first token of a text, which is
# an attention sink, is read). They are read after block 12, which the whole study chose (on names
# among which these are; try 6 or 16), and written after block 1, where `entity_description` writes
# by default. Beside the name in the sentence, the own reference is scored for the name put in other
# ways, which the tokenizer cuts differently: in lower case, in capitals, and with **the last word
# alone**.

# %%
twelve = entities[:12]
names = [entity.name for entity in twelve]
lead = "They were talking about "
ways = {
    "sentence": lambda name: lead + name,
    "lower case": lambda name: lead + name.lower(),
    "CAPITALS": lambda name: lead + name.upper(),
    "last word alone": lambda name: lead + name.split()[-1],
}
for way, put in ways.items():
    print(f"{way:16}", ls.capture(model, put(names[0]), site).tokens[0][4:])


# %%
def nats(reference, states):
    """log p(reference) as the description, with each of the states written after block 1."""
    start = len(model.to_tokens(scope.inspection.text + ":", prepend_bos=False)[0])
    whole = f"{scope.inspection.text}: {reference}"
    wanted = model.to_tokens(whole, prepend_bos=False)[0, start:]

    def log_p(logits):
        each = logits[:, :-1].log_softmax(-1)
        return each.gather(-1, wanted.expand(len(each), -1)[..., None]).sum((1, 2))

    rows = [[ls.resid_post(1).at("x").set(state)] for state in states]
    out = ls.run_many(model, whole, rows, metric=log_p, positions=slice(start - 1, None))
    return out.data.metric.values.ravel()


def last_state(prompt):
    return ls.capture(model, prompt, site)[site][0, 0]


read = {way: [last_state(put(name)) for name in names] for way, put in ways.items()}
table, own = {}, {way: {} for way in ways}
for n, entity in enumerate(twelve):
    others = [read[way][n] for way in list(ways)[1:]]
    found = nats(entity.reference, read["sentence"] + others)
    table[entity.name] = found[:12]
    for way, value in zip(ways, [found[n], *found[12:]], strict=True):
        own[way][entity.name] = value
raw = pd.DataFrame(table, index=names)  # rows: whose state is written; columns: which reference
own = pd.DataFrame(own)

# %% [markdown]
# Compared with what? A short reference of common words is probable after *any* state. So each
# column is compared with its own mean, that is, with what the other names' states give.

# %%
centred = raw - raw.mean()
first_raw = (raw.idxmax(axis=1) == raw.index).sum()
first = (centred.idxmax(axis=1) == centred.index).sum()
print(f"own reference is the most probable: for {first_raw} of 12 names")
print(f"… after each column's mean is taken off: for {first} of 12 names")
print("interval of the latter:", [round(float(edge), 2) for edge in proportion(first, 12)])

# %% tags=["slide"]
ls.course.heatmap(
    centred.rename(columns=lambda name: name.split()[-1][:7]),
    title="log p(reference), less the mean of its column",
    x="whose reference",
    y="whose state is written",
    value="nats",
)

# %% [markdown]
# The same model, fewer names than were held out above, one cell and no search; and nearly every
# state makes its own reference the most probable of twelve. Even the lower edge of the interval is
# far above one in twelve. **What was weak was not the state. It was the judge.** Greedy text and
# ROUGE-L had thrown the evidence away. And where it errs it errs sensibly: the state of Los Angeles
# makes the reference of New York City (*most populous municipality …*) probable, too.
#
# Without the column means (the control!) it would have been half of them at most.

# %% tags=["claim"]
assert first_raw <= 6
assert first >= 10
assert proportion(first, 12)[0] > 0.45  # by chance it would be one of twelve
assert centred.loc["Los Angeles", "New York City"] > 5
assert np.mean([centred.loc[a, b] for a, b in pairwise(names)]) < 0

# %% [markdown] tags=["exercise"]
# ### Exercise 6.5: ranks, and ties
#
# **Goal** score without a threshold, and without gifts · **Difficulty** ★★☆ · **Minutes** 10
#
# Write a function `ranks(scores)`. `scores` is a square array: in row $i$ the scores of all
# references for the state of name $i$, its own in column $i$. It returns a list with the rank of
# each name's own reference **in its row**: 1 where it is above all others. A tie counts *against*
# it: every other reference that scores at least as much stands before it. `answer` is the function.
#
# Try it on `raw.to_numpy()` and on `centred.to_numpy()`. What would be the mean rank by chance?
#
# <details><summary>Hint 1</summary>Count, do not sort: the rank is the number of references in the
# row that score at least as much as the own one. Does the own one count itself?</details>
#
# <details><summary>Hint 2</summary>Test it on a row of equal scores. The state that says nothing
# should come last.</details>


# %% tags=["stub"]
def ranks(scores): ...


answer = ...  # ranks


# %% tags=["wrong"]
def ties_as_hits(scores):
    own = np.diag(scores)[:, None]
    return [int(n) for n in (scores > own).sum(1) + 1]


def of_columns(scores):
    return [int(n) for n in (scores >= np.diag(scores)).sum(0)]


def from_zero(scores):
    return [n - 1 for n in ranks(scores)]


def smallest_first(scores):
    return ranks(-np.asarray(scores))


called = ranks(np.eye(3))
wrong = [ties_as_hits, of_columns, from_zero, smallest_first, called]


# %% tags=["solution"]
def ranks(scores):
    scores = np.asarray(scores)
    own = np.diag(scores)[:, None]
    return [int(n) for n in (scores >= own).sum(1)]  # the own one counts itself


answer = ranks
print(ranks(raw), ranks(centred))

# %% [markdown] tags=["slide"]
# ## Paired differences
#
# Is a name in capitals harder? Names differ much more from each other than a name does from itself
# in capitals. So compare **each name with itself**: take the difference first, and then the mean
# and its interval.


# %%
def half_width(spread, n):
    """Of Student's 95 % interval of a mean."""
    return float(student(n - 1, 0.95)) * spread / math.sqrt(n)


lines = {}
for way in list(ways)[1:]:
    difference = own["sentence"] - own[way]
    apart = math.sqrt(own["sentence"].var() + own[way].var())
    lines[f"sentence - {way}"] = {
        "nats": difference.mean(),
        "± paired": half_width(difference.std(), 12),
        "± as if of other names": float(student(22, 0.95)) * apart / math.sqrt(12),
    }
differences = pd.DataFrame(lines).T

# %% tags=["slide"]
differences.round(1)

# %% [markdown]
# With the same numbers, three different verdicts.
#
# - **Capitals** cost the model several nats: surely, if pairs are compared, and not at all surely
#   if they are torn apart. `DIANA, PRINCESS OF WALES` is cut into pieces that the model has rarely
#   seen.
# - **The last word alone** makes the reference less probable than the whole name does, surely.
#   *This* is entity resolution: what the state of the last token has from the words before it. Part
#   of the diagonal above was the last word, which is a shark or a bear all by itself.
# - **Lower case** may cost something; twelve names do not say.
#
# By ROUGE-L the same question was hopeless. The study has `variants=["bare", "space", "lower",
# "upper", "sentence"]`; with `entities[:30]`, `layers=range(2, 18, 3)`, `max_new_tokens=10` and
# `random_draws=1`, `.run().tables["resolution by variant"]` says after two minutes that a sentence
# resolves 0.23 of the names, capitals 0.07, and the bare name 0.10, each of thirty, with another
# entity's state at 0.10, 0.00 and 0.03. All intervals of its `headline` overlap.

# %% tags=["claim"]
paired, unpaired = differences["± paired"], differences["± as if of other names"]
assert (unpaired > 2 * paired).all()
sure = differences["nats"] > paired
assert sure["sentence - CAPITALS"]
assert sure["sentence - last word alone"]
assert not sure["sentence - lower case"]
assert (differences["nats"] < unpaired).all()

# %% [markdown]
# ### From which token?
#
# The paper reads the last one, for the model reads from left to right. Is that where it is?

# %%
where = {}
for entity in (twelve[0], twelve[3], twelve[6], twelve[10]):
    here = ls.resid_post(12).at(ls.span(entity.name))
    cache = ls.capture(model, lead + entity.name, here)
    tokens = cache.tokens[0][4:]
    found = nats(entity.reference, [*cache[here][0], nobody["mean"][0]])
    where[entity.name] = {
        token: value - found[-1] for token, value in zip(tokens, found[:-1], strict=True)
    }
for name, gained in where.items():
    print(f"{name:26}", "  ".join(f"{token.strip()} {gain:+.1f}" for token, gain in gained.items()))

# %% [markdown]
# In nats above what the mean state gives. A polar bear is at its last token. But ` Jurassic` says
# *dinosaurs* more clearly than ` Park` does, and has seen nothing of the park: it is the word's own
# meaning. The last token need not be the best one, and "it has the reference" need not mean "it has
# the entity".
#
# (`entity_resolution(…, all_tokens=True)` asks the same of whole studies: with the arguments above,
# after a minute, `.tables["resolved by token"]` says that the last token of thirty names resolves
# 0.23 of them at some layer, against 0.13 with another entity's state, and the token before it 0.13
# against 0.03. All intervals overlap.)

# %% tags=["claim"]
assert where["Polar bear"][" bear"] > where["Polar bear"][" Polar"] + 2
assert where["Jurassic Park"][" Jurassic"] > where["Jurassic Park"][" Park"] + 2
assert where["Alexander the Great"][" the"] < where["Alexander the Great"][" Great"] - 2

# %% [markdown] tags=["slide"]
# ## 7. What holds on this model
#
# - **Holds**: the state of the last token has more of the name than its last word has.
# - **Holds**: written where it was read, a late state says nothing.
# - **Not shown** here: one layer at which ROUGE-L's lift is surely above zero.
# - **Not shown**: that the *last* token is the place.
# - **Does not hold**: that a good score by itself means something. One text for all comes near it.

# %% [markdown]
# The paper's models have billions of parameters, and its descriptions are better; ours has 135
# million and 4-bit weights. That is a reason for weaker numbers, and none for weaker standards:
# each of the traps of this unit is there at any size.
#
# ### What to keep
#
# Before you believe a reading, ask: *compared with what?* Which control is the hardest, and is it
# beaten? Did it have as many tries? Was the cell chosen on other items? How many items, and how
# wide is the interval? Would one text for all do as well? What happens to a tie?
#
# **To try**: entities of your own, `ls.studies.entities("mine.csv")`, with the columns `name, kind,
# reference, unresolved`; `target_layers=[1]` in the study, so that late layers are not lost by the
# writing; layer 6 or 16 in section 6; `lensscope study entity-resolution --limit 60` in a terminal,
# and `lensscope report` on its folder.
