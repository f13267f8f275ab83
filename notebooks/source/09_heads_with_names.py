# ---
# title: Heads with names
# goals:
#   - measure where a head looks and what it writes, each beside a control
#   - find previous-token, induction, duplicate-token, S-inhibition and name-mover heads in a real
#     model, and say what each name claims
#   - test a name by an intervention, and choose a corruption that takes away what the name is about
#   - say which names of the literature hold in this model, and which head has none
#   - recognise self-repair, where removing a head shows nothing because another one makes up for it
# readings:
#   - "Wang, Variengien, Conmy, Shlegeris, Steinhardt 2022, *Interpretability in the Wild: a Circuit
#     for Indirect Object Identification in GPT-2 small*, arXiv 2211.00593"
#   - "Olsson et al. 2022, *In-context Learning and Induction Heads*, arXiv 2209.11895"
#   - "McDougall, Conmy, Rushing, McGrath, Nanda 2023, *Copy Suppression: Comprehensively
#     Understanding an Attention Head*, arXiv 2310.04625"
#   - "McGrath, Rahtz, Kramár, Mikulik, Legg 2023, *The Hydra Effect: Emergent Self-repair in
#     Language Model Computations*, arXiv 2307.15771"
# class:
#   - [10, "Recap: the answer moves from S2 to the end; section 1"]
#   - [20, "Section 2: previous-token and induction heads, with their tests"]
#   - [20, "Sections 3 and 4, exercises 9.1 and 9.2"]
#   - [25, "Sections 5 and 6, exercises 9.3 and 9.4"]
#   - [15, "Sections 7 and 8; exercise 9.5 at home"]
# scene:
#   prompt: "When Mary and John went to the store, John gave a drink to"
#   position: -1
#   says: "The last token up to block 22 says no name, though heads have been at work on it since
#     block 19. What these heads write cannot be read, and can be tested."
# ---

# %% [markdown] tags=["slide"]
# ## 1. What a name claims
#
# "Head 23.0 is a *name mover*." That is three claims:
#
# - **It looks** at a certain place: its attention pattern.
# - **It writes** a certain thing: its values and output matrix.
# - **It does** a certain work: without it, something is lost.
#
# Each can be measured, each needs a control, and none follows from another.

# %% [markdown]
# In unit 8 the answer of "When Mary and John went to the store, John gave a drink to" stood at the
# repeated name (S2) up to block 18, and at the last token from block 23 on. Heads move information
# between tokens, so heads did that. This unit looks for them. Heads are written *block.head*: 23.0
# is head 0 of block 23 (of 30 blocks of 9 heads; the model is SmolLM2-135M-Instruct from 4-bit
# weights).
#
# The paper that gave most of these names took GPT-2 small apart. Whether they hold *here* is open.

# %%
import pandas as pd
import torch

import lensscope as ls

model = ls.load_model()
LAYERS, HEADS = model.cfg.n_layers, model.cfg.n_heads


def table(scores):
    """Scores [layer, head] as a series by the name of the head."""
    names = [f"{layer}.{head}" for layer in range(LAYERS) for head in range(HEADS)]
    return pd.Series(scores.flatten().tolist(), names)


# %% [markdown] tags=["slide"]
# ## 2. Two heads that copy a sequence
#
# On random tokens, repeated: `… A B C … A B`
#
# - A **previous-token head** looks one token back.
# - An **induction head** looks at the token *after* the last occurrence of the current one, and so
#   finds what came next the last time.
# - A **duplicate-token head** looks at that last occurrence itself.
#
# Random tokens, so that nothing but the repetition can be used.

# %%
n = 20
generator = torch.Generator().manual_seed(0)
once = torch.randint(1000, 40000, (3, 2 * n), generator=generator)
twice = torch.cat([once[:, :n], once[:, :n]], 1)
patterns = {
    name: ls.capture(model, tokens.tolist(), ls.pattern)
    for name, tokens in (("repeated", twice), ("not repeated", once))
}


def looks_back(cache, distance):
    """Mean attention of each head to the token so far back, from the tokens of the second half."""
    rows = range(n, 2 * n)
    return torch.stack(
        [
            torch.stack([cache[ls.pattern(layer)][:, i, :, i - distance] for i in rows]).mean(
                (0, 1)
            )
            for layer in range(LAYERS)
        ]
    )


scores = {}
for name, distance in (("previous", 1), ("duplicate", n), ("induction", n - 1)):
    for kind, cache in patterns.items():
        scores[name, kind] = table(looks_back(cache, distance))
scores = pd.DataFrame(scores)

# %% tags=["slide"]
previous = scores["previous", "repeated"].nlargest(3).index
induction = scores["induction", "repeated"].nlargest(4).index
scores.loc[[*previous, *induction]].round(2)

# %% tags=["claim"]
assert set(induction) == {"18.6", "17.4", "17.3", "17.5"}
assert scores.loc[induction, ("induction", "repeated")].min() > 0.5
assert scores["induction", "not repeated"].max() < 0.15  # no head looks there by habit
assert scores.loc["16.0", [("previous", "repeated"), ("previous", "not repeated")]].min() > 0.8

# %% [markdown]
# The control is the same distance on tokens without a repetition. For induction it is decisive: no
# head looks 19 tokens back unless something is repeated there. For previous-token heads it says
# nothing, since every token has one before it: a pattern that can always occur needs another
# control, and an intervention is one.
#
# **The test.** An induction head has to know of each token what stood before it. Previous-token
# heads write that. So without *them*, induction heads must go blind, and without either, the model
# cannot copy. We remove heads by writing zeros, and look at both: how the four induction heads
# look, and the loss (in nats) on the tokens that could be copied.


# %%
def site(head):
    """What a head gives, by its name: head_out(16, 0) of "16.0"."""
    return ls.head_out(*map(int, head.split(".")))


def without(heads):
    """The mean score of the induction heads, and the loss on the second copy."""
    tokens = twice[:2]
    kept = [ls.pattern(17), ls.pattern(18)]
    run = ls.run(model, tokens.tolist(), [site(head).zero() for head in heads], kept)
    log_p = run.logits[:, n:-1].log_softmax(-1)
    loss = -log_p.gather(-1, tokens[:, n + 1 :, None]).mean().item()
    look = [
        run.cache[ls.pattern(*map(int, head.split(".")))][:, i, i - n + 1].mean()
        for head in induction
        for i in range(n, 2 * n)
    ]
    return {"induction heads look": torch.stack(look).mean().item(), "loss": loss}


removed = {
    "nothing": [],
    "16.0 (previous token)": ["16.0"],
    "another head of block 16": ["16.4"],
    "the four induction heads": list(induction),
    "four others of blocks 17 and 18": ["17.0", "17.1", "17.7", "18.3"],
}
copying = pd.DataFrame({name: without(heads) for name, heads in removed.items()}).T

# %% tags=["slide"]
copying.round(2)

# %% tags=["claim"]
look, loss = copying["induction heads look"], copying["loss"]
assert look["nothing"] > 0.5
assert look["16.0 (previous token)"] < 0.2
assert abs(look["another head of block 16"] - look["nothing"]) < 0.1
assert loss["16.0 (previous token)"] > loss["nothing"] + 3
assert loss["the four induction heads"] > loss["nothing"] + 3
assert loss["another head of block 16"] < loss["nothing"] + 1
assert loss["four others of blocks 17 and 18"] < loss["nothing"] + 1

# %% [markdown]
# Both names hold, and the way between them: one head of block 16 feeds the four. As many other
# heads of the same blocks do far less.

# %% [markdown] tags=["notes"]
# Unit 1 had these two heads on one page; here they are tested. Ask why removing the induction heads
# does not change how they *look* (the row says so): zeros are written after the pattern.
#
# Students often take the previous-token control for a failure of the method. It is a good moment to
# say what a control is: what the number would be if the claim were false.

# %% [markdown] tags=["slide"]
# ## 3. Back to Mary: which heads work at all?
#
# Every head of blocks 16 to 29, at all tokens together, patched from clean to corrupted
# (`corruption="swap"`), exactly. Blue brings the answer back, red works against it.

# %%
swapped = ls.pairs.ioi(model, 4, corruption="swap", seed=3)
heads = ls.activation_patching(
    model,
    swapped[:3].clean,
    swapped[:3].corrupted,
    [ls.head_out(block) for block in range(16, 30)],
    swapped[:3].metric,
    positions=ls.ALL,
)
work = heads.mean().effect.to_pandas()

# %% tags=["slide"]
ls.course.heatmap(work, title="Heads, 3 pairs", x="head", y="block", value="effect")

# %% tags=["claim"]
of_heads = work.stack()
largest = of_heads[of_heads.abs().nlargest(5).index]
assert set(largest.index) == {(20, 0), (23, 3), (24, 4), (29, 0), (29, 1)}
assert largest[24, 4] < -0.2
assert largest[29, 0] < -0.1
assert (of_heads.abs() > 0.05).sum() < 20

# %% [markdown]
# Of 126 heads fewer than twenty are above 0.05, and two of the five strongest work *against* the
# answer. A map of effects says that they matter, not what they are. Now for what they look at: the
# attention of the last token (`to`), in the scene of unit 8.

# %%
scene = "When {} and {} went to the store, {} gave a drink to"
clean = scene.format("Mary", "John", "John")
one = ls.capture(model, clean, ls.pattern)
chosen = ["19.2", "20.0", "23.0", "23.1", "23.7", "23.3", "24.4", "29.0", "29.1"]
rows = {head: one[ls.pattern(*map(int, head.split(".")))][0, -1].tolist() for head in chosen}
words = [f"{i} {word.strip()}" for i, word in enumerate(one.tokens[0])]

# %% tags=["slide"]
ls.course.heatmap(
    pd.DataFrame(rows, index=words).T,
    title="Where the last token looks",
    x="token",
    y="head",
    value="attention",
)

# %% tags=["claim"]
seen = pd.DataFrame(rows, index=words).T
assert all(seen.loc[head].idxmax() == "1 Mary" for head in ("23.0", "23.1", "23.7", "24.4"))
assert all(seen.loc[head].idxmax() == "9 John" for head in ("19.2", "20.0", "23.3"))
assert all(seen.loc[head].idxmax() == "13 to" for head in ("29.0", "29.1"))

# %% [markdown]
# Three kinds: four heads look at Mary (IO), three at the repeated John (S2), and the two of the
# last block at the last token itself. One scene is one scene, so here are ten others, with the
# control of section 2: the same places in the corrupted prompts, whose three names are all
# different (`corruption="abc"`). There, nothing is repeated.

# %%
pairs = ls.pairs.ioi(model, 10, corruption="abc", seed=0)
caches = {
    "clean": ls.capture(model, list(pairs.clean), ls.pattern),
    "corrupted": ls.capture(model, list(pairs.corrupted), ls.pattern),
}


def attention(cache, query, key):
    """Mean attention of each head from one named token to another."""
    total = torch.zeros(LAYERS, HEADS)
    for i in range(len(pairs)):
        at, to = pairs.groups[query][i], pairs.groups[key][i]
        total += torch.stack([cache[ls.pattern(n)][i, at, :, to] for n in range(LAYERS)])
    return table(total / len(pairs))


ways = [("end", "IO"), ("end", "S1"), ("end", "S2"), ("S2", "S1"), ("S2", "S1+1")]
looks = pd.DataFrame(
    {
        (f"{query} to {key}", kind): attention(cache, query, key)
        for query, key in ways
        for kind, cache in caches.items()
    }
)
looks.loc[chosen].round(2)

# %% tags=["claim"]
assert looks.loc[["23.0", "23.1", "23.7", "24.4"], ("end to IO", "clean")].min() > 0.4
assert looks.loc[["23.0", "23.1", "23.7", "24.4"], ("end to IO", "corrupted")].max() < 0.4
assert looks.loc[["23.0", "23.1", "23.7", "24.4"], ("end to S1", "corrupted")].min() > 0.2
assert looks.loc[["20.0", "23.3", "19.2"], ("end to S2", "clean")].min() > 0.35
assert looks.loc[["29.0", "29.1"]].max().max() < 0.3

# %% [markdown]
# Where no name is repeated, the heads that look at IO spread over both first names. To prefer IO
# they must be told which of the two is repeated.

# %% [markdown] tags=["exercise"]
# ### Exercise 9.1: at S2, because it is repeated
#
# **Goal** use the control as part of a score · **Difficulty** ★☆☆ · **Minutes** 8
#
# Some heads look from the end at the last name that stands there, whatever it is. Others do so
# *because* it is repeated. Find the **three** heads of the whole model for which the attention
# from the end to S2 differs most between clean and corrupted prompts (more in clean ones).
#
# `answer` is a list of three names of heads, such as `["3.1", "4.1", "5.9"]`, in any order.
#
# <details><summary>Hint 1</summary><code>looks["end to S2", "clean"]</code> is a series by the name
# of the head; series can be subtracted.</details>
# <details><summary>Hint 2</summary><code>.nlargest(3).index</code></details>

# %% tags=["wrong"]
wrong = [
    list(looks["end to S2", "clean"].nlargest(3).index),  # without the control
    list((looks["end to S2", "corrupted"] - looks["end to S2", "clean"]).nlargest(3).index),
    list((looks["end to IO", "clean"] - looks["end to IO", "corrupted"]).nlargest(3).index),
    list((looks["S2 to S1", "clean"] - looks["S2 to S1", "corrupted"]).nlargest(3).index),
]

# %% tags=["solution"]
because = looks["end to S2", "clean"] - looks["end to S2", "corrupted"]
answer = list(because.nlargest(3).index)

# %% [markdown] tags=["slide"]
# ## 4. What a head writes
#
# If a head looked at a name and at nothing else, it would write
#
# $$ v(\text{name}) \, W_O $$
#
# - Read it with the logit lens, over many names: is it **that** name?
# - **Copy score**: the share of names whose own logit is the largest of all names' logits.
# - **Negative copy score**: … is the smallest.
# - Chance is 1 in so many names. The control scores *another* name instead.

# %% [markdown]
# The values `v` are read after each name in "They were talking to …"; with grouped queries, three
# heads share one. The final norm only scales the vector by its length, which changes no order, and
# by its weights, which we keep.

# %%
many = ls.pairs.ioi(model, 60, corruption="abc", seed=0)
names = sorted({answers[0] for answers in (*many.correct, *many.wrong)})
values = ls.capture(model, [f"They were talking to{name}" for name in names], ls.v)
ids = [model.to_single_token(name) for name in names]
W_O, W_U = model.W_O.detach(), model.W_U.detach()[:, ids]
norm = model.ln_final.weight.detach()
per_value = HEADS // model.cfg.n_key_value_heads

logits = torch.stack(
    [
        torch.einsum("nhd,hdm->hnm", values[ls.v(n)][:, -1].repeat_interleave(per_value, 1), W_O[n])
        * norm
        @ W_U
        for n in range(LAYERS)
    ]
)  # [layer, head, name read, name scored]
own = torch.arange(len(names))
writes = pd.DataFrame(
    {
        "copies": table((logits.argmax(-1) == own).float().mean(-1)),
        "negative": table((logits.argmin(-1) == own).float().mean(-1)),
        "control: another name": table((logits.argmax(-1) == own.roll(1)).float().mean(-1)),
    }
)

# %% tags=["slide"]
writes.loc[chosen].round(2)

# %% tags=["claim"]
assert len(names) > 40
assert writes.loc[["23.0", "23.1", "23.7"], "copies"].min() > 0.9
assert writes.loc[["23.3", "24.4"], "negative"].min() > 0.9
assert writes.loc[["23.3", "24.4"], "copies"].max() < 0.1
assert writes.loc[["19.2", "20.0"], ["copies", "negative"]].max().max() < 0.15
assert writes["control: another name"].max() < 0.2
assert (writes["negative"] > 0.9).sum() == 2  # of 270 heads

# %% [markdown]
# Looking and writing come apart. 23.0 and 24.4 look at the same name; one writes it, the other
# writes *against* it, for every name tried. And 20.0 and 19.2 write neither for nor against the
# name they look at.

# %% [markdown] tags=["exercise"]
# ### Exercise 9.2: a copy score
#
# **Goal** know what is compared with what · **Difficulty** ★★☆ · **Minutes** 10
#
# Write `copy_scores(written, unembedding)`. `written` is `[name, d]`: what a head writes when it
# looks at each name. `unembedding` is `[d, name]`: one column for each name, in the same order.
# Return two numbers: the share of names whose own logit is the **largest** among all names, and
# the share whose own logit is the **smallest**. `answer` is the function.
#
# <details><summary>Hint 1</summary>A product of the two is <code>[name read, name scored]</code>.
# </details>
# <details><summary>Hint 2</summary>The own logits stand on the diagonal: in which column is the
# largest of row 0, if the head copies?</details>


# %% tags=["stub"]
def copy_scores(written, unembedding):
    """Shares of names that are copied, and written against."""


answer = ...  # copy_scores


# %% tags=["wrong"]
def over_readers(written, unembedding):
    found, right = written @ unembedding, torch.arange(len(written))
    return tuple(float((f(0) == right).float().mean()) for f in (found.argmax, found.argmin))


def by_sign(written, unembedding):
    own_logits = (written @ unembedding).diagonal()
    return float((own_logits > 0).float().mean()), float((own_logits < 0).float().mean())


def in_numbers(written, unembedding):
    return tuple(score * len(written) for score in copy_scores(written, unembedding))


wrong = [over_readers, by_sign, in_numbers, copy_scores(torch.eye(3), torch.eye(3))]


# %% tags=["solution"]
def copy_scores(written, unembedding):
    """Shares of names that are copied, and written against."""
    found, right = written @ unembedding, torch.arange(len(written))
    return tuple(float((f(-1) == right).float().mean()) for f in (found.argmax, found.argmin))


answer = copy_scores

# %% [markdown] tags=["slide"]
# ## 5. Testing a name
#
# Noising: these heads, at this token, as they are in the corrupted run, everything else clean.
#
# - **S-inhibition heads** (19.2, 20.0) look at S2 and tell the name movers *where not to look*. So
#   without them, name movers must look at the wrong name.
# - **Control**: heads of the same blocks without a name.
#
# The pairs are others than those on which the heads were found.


# %%
def noised(pairs, sets):
    """Heads as they are in the corrupted run: the effect, and where name movers then look.

    Args:
        pairs: of prompts.
        sets: for each name, some heads and the named token at which they are noised.
    """
    rows = []
    for i in range(len(pairs)):
        right, wrong = (model.to_single_token(a[i][0]) for a in (pairs.correct, pairs.wrong))
        at = {name: tokens[i] for name, tokens in pairs.groups.items()}
        places = [[site(head).at(at[token]) for head in heads] for heads, token in sets.values()]
        moves = [[ls.embed >> ls.embed], *([place >> place for place in some] for some in places)]
        out = ls.run_many(
            model,
            pairs.clean[i],
            [[], *moves],  # nothing, all of the corrupted prompt, then each set
            source=pairs.corrupted[i],
            metric=lambda logits, right=right, wrong=wrong: (
                logits[:, -1, right] - logits[:, -1, wrong]
            ),
            keep=ls.pattern(23),
        )
        look = [
            out.cache[ls.pattern(23)][n, at["end"]][[0, 1, 7]].mean(0)
            for n in range(len(moves) + 1)
        ]
        rows.append(
            pd.DataFrame(
                {
                    "logit difference": out.metric.flatten().tolist(),
                    "to IO": [row[at["IO"]].item() for row in look],
                    "to S1": [row[at["S1"]].item() for row in look],
                },
                index=["clean run", "corrupted run", *sets],
            )
        )
    mean = sum(rows) / len(rows)
    ends = mean.loc[["clean run", "corrupted run"], "logit difference"]
    effect = (ends.iloc[0] - mean["logit difference"]) / (ends.iloc[0] - ends.iloc[1])
    return mean.assign(effect=effect)


groups = {
    "S-inhibition": (["19.2", "20.0"], "end"),
    "control: 19.5, 20.3": (["19.5", "20.3"], "end"),
    "name movers": (["23.0", "23.1", "23.7"], "end"),
    "control: 23.4, 23.6, 23.8": (["23.4", "23.6", "23.8"], "end"),
    "23.3": (["23.3"], "end"),
    "24.4": (["24.4"], "end"),
    "induction": (["17.3", "17.4", "17.5", "18.6"], "S2"),
    "control: 17.0, 17.1, 17.7, 18.3": (["17.0", "17.1", "17.7", "18.3"], "S2"),
    "duplicate token": (["2.4", "5.6", "8.0", "8.1", "9.2", "14.3"], "S2"),
    "control: 2.7, 5.3, 8.5, 8.6, 9.6, 14.1": (["2.7", "5.3", "8.5", "8.6", "9.6", "14.1"], "S2"),
}
by_swap = noised(swapped, groups)

by_swap.iloc[:6].round(2)

# %% tags=["slide"]
ls.course.heatmap(
    by_swap[["to IO", "to S1"]].iloc[3::-1],
    title="Where the name movers look",
    x="name",
    y="noised",
    value="attention",
)

# %%
by_swap.iloc[6:].round(2)

# %% tags=["claim"]
effect, to_io, to_s1 = by_swap["effect"], by_swap["to IO"], by_swap["to S1"]
assert effect["S-inhibition"] > 0.45
assert to_s1["S-inhibition"] > 0.5 > 0.3 > to_io["S-inhibition"]  # they look at the wrong name
assert abs(to_io["S-inhibition"] - to_io["corrupted run"]) < 0.1
assert effect["name movers"] > 0.15
assert effect["23.3"] > 0.2
assert effect["24.4"] < -0.15
assert effect["induction"] > 0.4
assert effect.filter(like="control").abs().max() < 0.1
assert effect["duplicate token"] < 0.15

# %% [markdown]
# - **S-inhibition** holds. With two heads noised at one token, the three name movers look where
#   they look in the corrupted run, at S1, and more than half of the effect is lost. They write
#   no name: they say where not to look. (This is what exercise 8.5 found in the stream.)
# - **Induction** heads have a part in it, at S2: 17.4 and 17.5 look there at the token after S1.
# - **Duplicate-token** heads look at S1 from S2, clearly, and noising all six of them loses next to
#   nothing. Is the name empty? Or the test?

# %% tags=["claim"]
at_s2 = looks["S2 to S1+1", "clean"]
assert at_s2["17.4"] > 0.7
assert at_s2["17.5"] > 0.4
assert looks["S2 to S1", "clean"][groups["duplicate token"][0]].min() > 0.4
assert looks["S2 to S1", "corrupted"][groups["duplicate token"][0]].max() < 0.3

# %% [markdown] tags=["exercise"]
# ### Exercise 9.3: a corruption that takes it away
#
# **Goal** choose the corruption by what is claimed · **Difficulty** ★★☆ · **Minutes** 12
#
# A duplicate-token head says "this token has been here before". In the swapped prompt the last name
# *also* has been here before: Mary instead of John. So what these heads say is the same in both
# runs, and patching it changes nothing.
#
# Test them where the corrupted prompt repeats no name. `ls.pairs.ioi(model, 4, corruption=…,
# seed=3)` has four corruptions (see its docstring); take the one that changes **only the second
# subject**, into a third name. `answer` is the effect of noising the six duplicate-token heads at
# S2.
#
# <details><summary>Hint 1</summary><code>help(ls.pairs.ioi)</code> says what each corruption
# does.</details>
# <details><summary>Hint 2</summary><code>noised(pairs, sets)</code> takes a part of
# <code>groups</code> as its sets.</details>

# %% tags=["wrong"]
third = ls.pairs.ioi(model, 4, corruption="s2", seed=3)
wrong = [
    by_swap["effect"]["duplicate token"],  # the swap
    noised(third, {"at the end": (groups["duplicate token"][0], "end")})["effect"].iloc[-1],
    repeats_none["logit difference"].iloc[-1],
]

# %% tags=["solution"]
six = {"duplicate token": groups["duplicate token"]}
repeats_none = noised(ls.pairs.ioi(model, 4, corruption="s2", seed=3), six)
answer = repeats_none["effect"]["duplicate token"]

# %% [markdown]
# Here are all of them again, with that corruption:

# %%
third = ls.pairs.ioi(model, 4, corruption="s2", seed=3)
early = {name: groups[name] for name in list(groups)[6:]}
early["induction and duplicate token"] = (
    [*groups["induction"][0], *groups["duplicate token"][0]],
    "S2",
)
by_third = noised(third, early)
by_third.round(2)

# %% tags=["claim"]
found = by_third["effect"]
assert found["duplicate token"] > found["induction"] + 0.1
assert effect["induction"] > effect["duplicate token"] + 0.3
assert found["duplicate token"] > 0.35
assert found["induction"] > 0.15
assert found["induction and duplicate token"] > 0.75
assert found.filter(like="control").abs().max() < 0.1

# %% [markdown]
# The name holds after all, and the two corruptions take the two kinds apart. Where the prompts
# differ in **which** name is repeated (swap), induction heads carry the difference and
# duplicate-token heads nothing; where they differ in **whether** one is (third name),
# duplicate-token heads carry more than induction heads. Both together, at one token, are nearly all
# of it. A null result is a statement about a head *and* a corruption.

# %% [markdown] tags=["slide"]
# ## 6. A strong head
#
# By effect, 23.3 is among the strongest of all. What is it?
#
# - A **name mover** looks at IO and writes it.
# - A **negative name mover** looks at IO and writes against it.
# - An **S-inhibition head** looks at S2 and tells later heads where not to look.

# %% [markdown] tags=["exercise"]
# ### Exercise 9.4: a strong head without a name?
#
# **Goal** use all three kinds of evidence before a name is given · **Difficulty** ★★☆ ·
# **Minutes** 10
#
# Look up head 23.3 in `looks`, in `writes` and in `by_swap`. Which name of the literature fits
# *all* of what you find? `answer` is one of these texts:
#
# `"name mover"`, `"negative name mover"`, `"S-inhibition head"`, `"duplicate-token head"`,
# `"none of these"`.
#
# <details><summary>Hint 1</summary>Write down for each name what its three claims are: looks,
# writes, does.</details>
# <details><summary>Hint 2</summary>The name movers are in block 23. Whom can a head of block 23
# tell anything?</details>

# %% tags=["wrong"]
wrong = ["name mover", "negative name mover", "S-inhibition head", "duplicate-token head", "23.3"]

# %% tags=["solution"]
answer = "none of these"

# %% [markdown] tags=["notes"]
# 23.3 looks at S2 and writes *against* the name it finds there, for every name tried: it helps by
# making John less likely, not Mary more likely. It cannot be an S-inhibition head, which tells name
# movers where to look: these are in its own block. We call it a *subject suppressor*; the paper on
# GPT-2 has no such class. A head's effect is the least informative thing about it: 23.3 and 20.0
# have about the same one. The heads of the last block have no name of the list either.
#
# This is the place to ask what a name would be worth in another model.

# %% [markdown] tags=["slide"]
# ## 7. Name movers that are not missed
#
# Zero the three name movers at the last token: what is lost?


# %%
def differences(rows_of):
    """The logit difference of each pair under lists of patches, and where 24.4 then looks."""
    found, look = [], []
    for i in range(len(swapped)):
        right, wrong = (model.to_single_token(a[i][0]) for a in (swapped.correct, swapped.wrong))
        out = ls.run_many(model, swapped.clean[i], rows_of(i), keep=ls.pattern(24, 4))
        logits = out.logits[:, -1]
        found.append((logits[:, right] - logits[:, wrong]).tolist())
        end, io = swapped.groups["end"][i], swapped.groups["IO"][i]
        look.append([row.item() for row in out.cache[ls.pattern(24, 4)][:, end, io]])
    return pd.DataFrame(found), pd.DataFrame(look)


movers = [site(head).at(-1).zero() for head in ("23.0", "23.1", "23.7")]
others = [site(head).at(-1).zero() for head in ("23.4", "23.6", "23.8")]
logit_differences, look_of_24_4 = differences(lambda i: [[], movers, others])
kinds = ["clean run", "without name movers", "without three others"]
zeroed = pd.DataFrame(
    {
        "logit difference": logit_differences.mean().tolist(),
        "24.4 looks at IO": look_of_24_4.mean().tolist(),
    },
    index=kinds,
)

# %% tags=["slide"]
zeroed.round(2)

# %% tags=["claim"]
assert (
    zeroed["logit difference"]["without name movers"]
    > zeroed["logit difference"]["clean run"] - 0.8
)
assert zeroed["24.4 looks at IO"]["clean run"] > 0.6
assert zeroed["24.4 looks at IO"]["without name movers"] < 0.4
assert zeroed["24.4 looks at IO"]["without three others"] > 0.6

# %% [markdown]
# Nothing is lost. By this test, the three heads that look at the right name and write it do not
# matter. But see what 24.4 does, one block later: it looks at IO and writes against it, as long as
# the name movers are at work; without them, it looks away. This is **self-repair**: a part that is
# removed is made up for by one that reacts to it.

# %% [markdown] tags=["exercise"]
# ### Exercise 9.5: hold the one that reacts
#
# **Goal** measure what a head does when nothing may make up for it · **Difficulty** ★★★ ·
# **Minutes** 15
#
# Zero the three name movers again, and **hold head 24.4 at the last token** at what it gives in the
# clean run of the same prompt. `answer` is the logit difference that is lost, averaged over the
# four pairs of `swapped`: that of the clean run less that of the patched one, in logits.
#
# <details><summary>Hint 1</summary><code>ls.capture(model, swapped.clean[i], ls.head_out(24,
# 4))</code> holds it; <code>.set(value)</code> writes it.</details>
# <details><summary>Hint 2</summary><code>differences</code> takes a function from the number of a
# pair to lists of patches, so each pair can have a value of its own.</details>
# <details><summary>Hint 3</summary>A clean value is also what a move reads if no other source is
# given: <code>place >> place</code>.</details>

# %% tags=["wrong"]
place = ls.head_out(24, 4).at(-1)
rows, _ = differences(lambda i: [[], movers, [*movers, place.zero()], [*movers, place >> place]])
wrong = [
    rows.mean()[0] - rows.mean()[1],  # not held
    rows.mean()[0] - rows.mean()[2],  # removed, too
    rows.mean()[3],  # what is left
    rows.mean()[3] - rows.mean()[0],  # the wrong way round
]


# %% tags=["solution"]
def held(i):
    """Without name movers, 24.4 as it was."""
    place = ls.head_out(24, 4).at(-1)
    return [[], [*movers, place >> place]]


logit_differences, _ = differences(held)
answer = (logit_differences[0] - logit_differences[1]).mean()

# %% [markdown] tags=["slide"]
# ## 8. The ledger
#
# A name is kept if the head looks, writes and works as it says, and the controls do not.

# %%
evidence = {
    "duplicate token": ("S2 to S1", by_third),
    "induction": ("S2 to S1+1", by_swap),
    "S-inhibition": ("end to S2", by_swap),
    "name movers": ("end to IO", by_swap),
    "24.4": ("end to IO", by_swap),
    "23.3": ("end to S2", by_swap),
}
ledger = {}
for name, (way, tested) in evidence.items():
    heads = groups[name][0]
    ledger[name] = {
        "way": way,
        "looks": looks.loc[heads, (way, "clean")].mean(),
        "if no name is repeated": looks.loc[heads, (way, "corrupted")].mean(),
        "copies": writes.loc[heads, "copies"].mean(),
        "against": writes.loc[heads, "negative"].mean(),
        "effect": tested["effect"][name],
        "largest control": tested["effect"].filter(like="control").abs().max(),
    }
ledger = pd.DataFrame(ledger).T.infer_objects()

# %% tags=["slide"]
ledger.round(2)

# %% tags=["claim"]
assert (ledger["effect"].abs() > 3 * ledger["largest control"]).all()
assert (ledger["looks"] > ledger["if no name is repeated"] + 0.1).all()
assert ledger.loc["name movers", "copies"] > 0.9
assert ledger.loc[["24.4", "23.3"], "against"].min() > 0.9
assert ledger.loc["24.4", "effect"] < 0 < ledger.loc["23.3", "effect"]

# %% [markdown]
# | name | in this model |
# | --- | --- |
# | previous token (16.0) | holds on random tokens |
# | induction (17.3, 17.4, 17.5, 18.6) | holds on random tokens, and works in these sentences too |
# | duplicate token | holds, but only a corruption without a repeated name shows it |
# | S-inhibition (19.2, 20.0) | holds: two heads turn three others around |
# | name mover (23.0, 23.1, 23.7) | holds, but only if 24.4 is held, or they are noised |
# | negative name mover (24.4) | holds, and it reacts to the name movers |
# | 23.3 | no name of the list: it writes against the name at S2 |
# | 29.0, 29.1 | no name: they look at the last token itself |
#
# Three of the five strongest heads by effect have no name of the list. And a list of names is not
# yet a mechanism: whether these heads *together* do the task is the question of unit 10.

# %% [markdown] tags=["notes"]
# If there is time: let groups test the ledger on another template, or on `gendered_pronoun`. Do the
# same heads work there? The honest answer may be "some", and that is a result.
#
# All heads were found on ten pairs and on random tokens, and tested on four other pairs. Four
# pairs are few; the effects above are three times the largest control, which is a rule of thumb
# and no test. Unit 10 has intervals.
