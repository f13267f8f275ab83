# ---
# title: Inside a tiny transformer
# goals:
#   - read a transformer as a residual stream that heads read from and write into
#   - build, by hand, the two heads that continue a repeated text (induction), and explain each
#   - find such heads in a real model by their attention patterns, and compare scores with a control
#   - tell what a head looks at from what it does, by removing it, beside other heads removed
# readings:
#   - "Elhage et al. 2021, *A Mathematical Framework for Transformer Circuits*
#     (transformer-circuits.pub)"
#   - "Olsson et al. 2022, *In-context Learning and Induction Heads*, arXiv 2209.11895"
#   - "Jain and Wallace 2019, *Attention is not Explanation*, arXiv 1902.10186"
# class:
#   - [10, "Recap: attention, softmax, and the residual stream"]
#   - [25, "Sections 1 and 2, exercises 1.1 and 1.2"]
#   - [15, "Section 3, exercise 1.3"]
#   - [25, "Sections 4 and 5, exercise 1.4"]
#   - [15, "Exercise 1.5, and what was compared with what"]
# scene:
#   prompt: "Ms Quillfeather and the boy met. Ms Qu"
#   position: -1
#   says: "The token ' Qu' stands here twice. Compare the two columns: after the second one the
#     model goes on as the name did before. Nothing in the token itself says so; heads looked back."
# ---

# %% [markdown] tags=["slide"]
# ## 1. A model small enough to write down
#
# A transformer keeps one vector for each token: the **residual stream**. Every block reads from it
# and *adds* to it.
#
# - A **head** looks somewhere, and copies something from there.
# - Here we set every weight by hand.
# - The task: a text repeats itself; say what comes next.

# %% [markdown]
# The model has attention only: two blocks of two heads, no MLPs, no layer norm. Its texts are
# letters, and `^` begins every text. After `^ d a g d`, the next letter should be `a`, since `a` is
# what followed `d` before.
#
# The whole trick is to keep a tidy residual stream. We cut its 56 dimensions into five parts, and
# give each part its own question:
#
# | part | its vectors say | written by |
# | --- | --- | --- |
# | `now` | which token stands here | the embedding |
# | `place` | at which place it stands | the embedding |
# | `before` | which token stands one place before | block 0 |
# | `spare` | (something that nobody reads) | block 0 |
# | `following` | which token should come next | block 1 |
#
# Each part is a set of unit vectors, one for each possible answer: `before[4]` is the direction
# that says "the token before me is `d`". They are all orthogonal, so what is written into one part
# is not seen in another.

# %%
import math
import random
import re
from typing import NamedTuple

import pandas as pd
import torch

import lensscope as ls

letters = "^abcdefgh"
n_letters, longest = len(letters), 20
width = 4 * n_letters + longest

parts = ["now", "place", "before", "spare", "following"]
sizes = [n_letters, longest, n_letters, n_letters, n_letters]
now, place, before, spare, following = torch.eye(width).split(sizes)

print("width of the residual stream:", width)
print(
    "before[4] is a vector of", before[4].numel(), "numbers; which is 1?", int(before[4].argmax())
)

# %% [markdown] tags=["slide"]
# ### A head is two matrices
#
# $$A = \mathrm{softmax}\big(\mathrm{mask}(x\, W_{QK}\, x^\top)\big) \qquad
# \mathrm{out} = A\, x\, W_{OV}$$
#
# - $W_{QK}$: **where to look**. It scores each pair of a query and a key.
# - $W_{OV}$: **what to copy** from there, and where to write it.
#
# The two are separate. A head's pattern says nothing of what it copies.

# %% [markdown]
# In a real model $W_{QK} = W_Q W_K^\top$ and $W_{OV} = W_V W_O$, products of narrow matrices (and
# scores are divided by $\sqrt{d_\text{head}}$). Only the products matter here, so we write these.
#
# With tidy parts, a matrix is a sentence. `now.T @ before` reads what is in `now` and puts the same
# letter into `before`. As a $W_{QK}$, `now.T @ before` gives a score of 1 where the query's own
# token is the key's token before. A factor of 50 makes the softmax nearly a hard choice.


# %%
class Head(NamedTuple):
    looks: torch.Tensor  # W_QK
    copies: torch.Tensor  # W_OV


sharp = 50.0

# Block 0. A query at place i looks at the key at place i - 1, and notes the letter that it sees.
previous_token = Head(sharp * place[1:].T @ place[:-1], now.T @ before)
# Its look-alike looks at the same token, and writes where nobody reads.
look_alike = Head(previous_token.looks, now.T @ spare)

# Block 1. "Where does a letter stand whose letter before is my own? Say what stands there."
# It copies letters, and not the "^".
induction = Head(sharp * now.T @ before, now[1:].T @ following[1:])
# A resting head looks at the beginning, whatever stands there, and copies nothing.
resting = Head(sharp * torch.outer(now.sum(0), now[0]), torch.zeros(width, width))

blocks = [[previous_token, look_alike], [induction, resting]]

# %%
every_pair = [(block, head) for block in range(2) for head in range(2)]


def tiny(text, removed=(), blocks=blocks):
    """The logits of the tiny model, its residual stream after each block, and its patterns."""
    ids = torch.tensor([letters.index(letter) for letter in text])
    x = now[ids] + place[: len(ids)]
    later = torch.ones(len(ids), len(ids)).triu(1).bool()
    streams, patterns = [x], {}
    for n, heads in enumerate(blocks):
        written = torch.zeros_like(x)
        for h, head in enumerate(heads):
            scores = (x @ head.looks @ x.T).masked_fill(later, -torch.inf)
            patterns[n, h] = scores.softmax(-1)
            if (n, h) not in removed:
                written += patterns[n, h] @ x @ head.copies
        x = x + written
        streams.append(x)
    return 6 * x @ following.T, streams, patterns


logits, streams, patterns = tiny("^dagbdagb")
for place_now, letter in enumerate("^dagbdagb"):
    p = logits[place_now].softmax(-1)
    sure = letters[p.argmax()] if p.max() > 0.9 else "?"
    print(f"{place_now} {letter}  next: {sure}  (largest probability {p.max():.2f})")

# %% [markdown]
# From place 5 on the text repeats itself, and the model is sure of the next letter, and right.
# Before that it repeats what it has seen, and is less sure.

# %% tags=["claim"]
said = "".join(letters[n] for n in logits.argmax(-1))
assert said[5:] == "agbd"
assert logits.softmax(-1).max(-1).values[5:].min() > 0.9  # sure where the text repeats itself
assert logits.softmax(-1).max(-1).values[1:5].max() < 0.9

# %% [markdown] tags=["notes"]
# Ten minutes. Draw the five parts as boxes on the board and fill them for one token; the code is
# then read as a caption. What students get wrong: they take $W_{QK}$ for the attention pattern. Ask
# which of the two changes with the text (the pattern), and which is a weight.
#
# The factor 50 stands for a trained head's large weights, 6 for the unembedding's. Nothing
# hangs on the exact values.

# %% [markdown] tags=["slide"]
# ## 2. Watching it
#
# What is in the residual stream, part by part, after each block?
#
# - Embedding: `now` and `place`.
# - Block 0 adds `before` (and `spare`).
# - Block 1 adds `following`.
#
# Nothing is ever overwritten: each step is a sum.


# %%
def contents(x):
    """What each part of the residual stream says: the answer that stands out, if one does."""
    columns = {}
    for name, part in zip(parts, [now, place, before, spare, following], strict=True):
        amounts, answers = (x @ part.T).max(-1)
        names = range(longest) if name == "place" else letters
        columns[name] = [
            names[n] if amount > 0.9 else "–"
            for amount, n in zip(amounts.tolist(), answers.tolist(), strict=True)
        ]
    return pd.DataFrame(columns)


stages = ["embedding", "after block 0", "after block 1"]
pd.concat(dict(zip(stages, map(contents, streams), strict=True)), axis=1)

# %% [markdown]
# The last of the three by itself:

# %% tags=["slide"]
contents(streams[-1])

# %% [markdown]
# Read the large table from left to right. After the embedding a place knows its own letter only.
# After block 0 it also knows the letter before it. After block 1 the places from 5 on hold the
# letter that should come next; before that, nothing stands out.

# %% tags=["claim"]
assert contents(streams[0])["before"].eq("–").all()
assert "".join(contents(streams[1])["before"]) == "^^dagbdag"
assert "".join(contents(streams[2])["following"][5:]) == "agbd"
assert contents(streams[2])["following"][:5].eq("–").all()

# %% [markdown]
# The two kinds of pattern, with queries as rows (the first is the lowest) and keys as columns:

# %%
labels = [f"{n} {letter}" for n, letter in enumerate("^dagbdagb")]


def pattern_picture(pattern, labels, title):
    frame = pd.DataFrame(pattern.numpy(), index=labels, columns=labels)
    return ls.course.heatmap(frame, title=title, x="key", y="query", value="attention")


pattern_picture(patterns[0, 0], labels, "Head 0.0 looks one place back")

# %% tags=["slide"]
pattern_picture(patterns[1, 0], labels, "Head 1.0 looks behind the earlier copy")

# %% [markdown]
# Head 1.0 could not do this alone. Its queries ask "who has *my* letter as the one before?", and
# the answer is there only because head 0.0 wrote it into `before`. Two heads in a row that pass
# something on are a **circuit**; that the second one's *keys* read what the first one wrote is
# called K-composition (Elhage et al. 2021).
#
# Where a letter has not come before (places 1 to 4), all scores are equal, and the head spreads its
# attention evenly over what it may see. Softmax must sum to 1: a head cannot look nowhere.

# %% tags=["claim"]
assert torch.allclose(patterns[1, 0][4, :5], torch.full((5,), 1 / 5), atol=1e-4)
assert patterns[1, 0][5:].max(-1).values.min() > 0.99

# %% [markdown] tags=["exercise"]
# ### Exercise 1.1: where does it look?
#
# **Goal** predict a pattern from the weights · **Difficulty** ★☆☆ · **Minutes** 6
#
# The text is `^hcafcgah`, so `^` stands at place 0 and the last `h` at place 8. At which place does
# the induction head (1.0) look from places 5, 7 and 8? Write down your prediction before you run
# anything.
#
# `answer` is a list of three places (whole numbers, counted from 0), for the queries 5, 7 and 8 in
# this order.
#
# <details><summary>Hint 1</summary>Write the text down with its places, and under each letter the
# letter before it. That row is what the keys hold.</details>
# <details><summary>Hint 2</summary>At place 5 stands <code>c</code>. Which earlier place has
# <code>c</code> as its letter before?</details>

# %% tags=["stub"]
answer = ...  # [from place 5, from place 7, from place 8]

# %% tags=["wrong"]
wrong = [
    [2, 3, 1],  # the earlier copy itself
    [4, 6, 7],  # the previous-token head
    [1, 2, 0],  # one before the earlier copy
    "the place after",
]

# %% tags=["solution"]
_, _, found = tiny("^hcafcgah")
answer = found[1, 0].argmax(-1)[[5, 7, 8]]

# %% [markdown] tags=["notes"]
# The usual mistake is the place of the earlier copy. Ask what the model would predict if the head
# looked there (it would say the same letter again: that is a duplicate-token head, exercise 1.4).

# %% [markdown] tags=["exercise"]
# ### Exercise 1.2: look further back
#
# **Goal** write a $W_{QK}$ · **Difficulty** ★★☆ · **Minutes** 10
#
# Write a function `look_back(distance)` that gives the $W_{QK}$, `[56, 56]`, of a head that looks
# `distance` places back, whatever the letters are. It should look there with more than 0.9 of its
# attention wherever there is such a place.
#
# Then put a head that looks *two* places back in the place of head 0.0, and run `^dagbdagb` again.
# What does the model predict now, and why?
#
# `answer` is the function.
#
# <details><summary>Hint 1</summary>Queries are on the left: <code>place[5]</code> as the query and
# <code>place[3]</code> as the key should get a large score.</details>
# <details><summary>Hint 2</summary><code>A.T @ B</code> pairs row 0 of A with row 0 of B, row 1
# with row 1, and so on. For distance 1 it was <code>place[1:].T @ place[:-1]</code>.</details>


# %% tags=["stub"]
def look_back(distance):
    """The W_QK of a head that looks some places back."""


answer = ...  # look_back

# %% tags=["wrong"]
wrong = [
    lambda distance: sharp * place[:-distance].T @ place[distance:],  # query and key swapped
    lambda distance: sharp * place[1:].T @ place[:-1],  # always one place
    lambda distance: place[distance:].T @ place[:-distance],  # not sharp
    lambda distance: sharp * now[1:].T @ now[:-1],  # letters in place of places
    look_back(2),
]


# %% tags=["solution"]
def look_back(distance):
    """The W_QK of a head that looks some places back."""
    return sharp * place[distance:].T @ place[:-distance]


two_back = Head(look_back(2), now.T @ before)
logits, _, _ = tiny("^dagbdagb", blocks=[[two_back, look_alike], [induction, resting]])
print("predicted from place 5 on:", "".join(letters[n] for n in logits.argmax(-1)[5:]))

answer = look_back

# %% [markdown] tags=["notes"]
# With two places back the model predicts the letter *after* the next one: the induction head finds
# the place whose "before" is the own letter, and that place is now two further on. The second head
# was not touched: what a head does depends on what earlier heads wrote.

# %% [markdown] tags=["slide"]
# ## 3. Removing heads
#
# Watching is not enough: two heads of block 0 have *the same* pattern. So take away what a head
# writes (**ablation**), and look at the behaviour: the loss on the second copy.
#
# Compared with what? With the model as it is, with each *other* head removed, and with texts that
# do not repeat.

# %%
generator = torch.Generator().manual_seed(0)


def shuffled():
    return "".join(letters[1 + n] for n in torch.randperm(8, generator=generator))


firsts = [shuffled() for _ in range(50)]
repeated = ["^" + first + first for first in firsts]
not_repeated = ["^" + first + shuffled() for first in firsts]


def loss_of(texts, removed=(), blocks=blocks):
    """Mean loss in nats, in the first half of the texts and in the second.

    The first letter of the second half is left out: nothing before it says what it will be.
    """
    losses = []
    for text in texts:
        ids = torch.tensor([letters.index(letter) for letter in text])
        log_p = tiny(text, removed, blocks)[0].log_softmax(-1)
        losses.append(-log_p[:-1].gather(-1, ids[1:, None])[:, 0])
    mean = torch.stack(losses).mean(0)
    return mean[:8].mean().item(), mean[9:].mean().item()


# %% tags=["slide"]
removals = {"nothing": ()} | {f"head {n}.{h}": ((n, h),) for n, h in every_pair}
table = pd.DataFrame(
    {
        name: {
            "first half": loss_of(repeated, removed)[0],
            "second half, repeated": loss_of(repeated, removed)[1],
            "second half, not repeated": loss_of(not_repeated, removed)[1],
        }
        for name, removed in removals.items()
    }
).T
table.index.name = "removed"
table.round(2)

# %% [markdown]
# - Without head 0.0 or head 1.0 the second copy is no better predicted than by guessing: the loss
#   of nine equal probabilities is $\ln 9 \approx 2.20$.
# - Without head 0.1, the look-alike, *nothing* changes, although its pattern is the same as that of
#   head 0.0, number by number. **A pattern is not an effect.**
# - Without the resting head nothing changes either: it copies zeros.
# - On texts that do not repeat, the model with its induction head is worse than without it.
#   Induction is a bet that the text goes on as before, and the model bets without asking.

# %% tags=["claim"]
second, other = table["second half, repeated"], table["second half, not repeated"]
assert second["nothing"] < 0.05
assert abs(second["head 1.0"] - math.log(9)) < 1e-3
assert abs(math.log(9) - 2.20) < 0.005
assert second["head 0.0"] > math.log(9) - 1e-3
assert (table.loc["head 0.1"] - table.loc["nothing"]).abs().max() < 1e-6
assert (table.loc["head 1.1"] - table.loc["nothing"]).abs().max() < 1e-6
assert torch.equal(patterns[0, 0], patterns[0, 1])
assert other["nothing"] > other["head 1.0"] + 1

# %% [markdown] tags=["exercise"]
# ### Exercise 1.3: a place to rest
#
# **Goal** see why heads look at the beginning of a text · **Difficulty** ★★☆ · **Minutes** 10
#
# Where nothing repeats, the induction head spreads its attention evenly, and so it copies a bit of
# everything that it has seen. Change its $W_{QK}$ so that
#
# - a query *without* an earlier copy looks at place 0, with more than 0.9 of its attention, and
# - a query *with* an earlier copy still looks behind that copy, with more than 0.9.
#
# `answer` is the new $W_{QK}$, `[56, 56]`, with the parts of the residual stream as they are above.
# See what it does to the loss in the first half.
#
# <details><summary>Hint 1</summary>Scores add up. You need a second, weaker reason to
# look.</details>
# <details><summary>Hint 2</summary>The resting head has a reason to look at <code>^</code>. How
# strong may it be beside that of a match?</details>

# %% tags=["stub"]
answer = ...  # induction.looks + …

# %% tags=["wrong"]
wrong = [
    induction.looks,  # no resting place
    resting.looks,  # rests always
    induction.looks + resting.looks,  # match and rest share
    induction.looks + 0.02 * resting.looks,  # too weak
    (induction.looks + 0.5 * resting.looks)[:29, :29],
]

# %% tags=["solution"]
answer = induction.looks + 0.5 * resting.looks

rested = [[previous_token, look_alike], [Head(answer, induction.copies), resting]]
for name, tried in {"as it was": blocks, "with a place to rest": rested}.items():
    first, second_copy = loss_of(repeated, blocks=tried)
    print(f"{name}: first half {first:.2f}, second half {second_copy:.2f}")

# %% [markdown] tags=["notes"]
# The rest is free of effect only because the head does not copy `^` (its $W_{OV}$ begins with
# `now[1:]`). Ask what would happen if it did: the model would say `^` wherever it rests. A place to
# rest needs both halves, a score that is low but not lowest, and a value of nothing. This prepares
# the attention sinks of unit 2.

# %% [markdown] tags=["slide"]
# ## 4. The same two heads in a real model
#
# SmolLM2-135M-Instruct: 30 blocks of 9 heads, so 270 patterns.
#
# - Take **random** words and repeat them. Nothing but the repetition tells what comes next.
# - Score every head: how much does it look at the place where the textbook head would?
# - **Control**: the same words, then *other* words.

# %% [markdown]
# The model comes from a file of 4-bit weights that is turned back into 32-bit floats, so numbers
# may differ a little from those of the original weights. The words are tokens of their own in its
# vocabulary. We search for heads on some texts, and will test what we find on others.

# %%
model = ls.load_model()

vocabulary = model.tokenizer.get_vocab()
# "Ġ" is how the tokenizer writes a space before a word
words = torch.tensor(sorted(n for t, n in vocabulary.items() if re.fullmatch("Ġ[a-z]{4,9}", t)))
generator, length = torch.Generator().manual_seed(1), 20


def random_words(texts=4):
    return words[torch.randint(len(words), (texts, length), generator=generator)]


first, other = random_words(), random_words()
search = torch.cat([first, first], dim=1)
control = torch.cat([first, other], dim=1)
first, other = random_words(), random_words()
test = torch.cat([first, first], dim=1)
test_control = torch.cat([first, other], dim=1)

print(len(words), "words; one of the texts begins:", model.tokenizer.decode(search[0, :6]))


# %%
def mean_patterns(ids):
    """Attention by layer, query, head and key: the mean over texts."""
    cache = ls.capture(model, ids, ls.pattern)
    return torch.stack([cache[ls.pattern(layer)].mean(0) for layer in range(30)])


on_repeated, on_control = mean_patterns(search), mean_patterns(control)


def looks_back(patterns, distance):
    """By layer and head: mean attention to the token some places back, in the second half."""
    queries = torch.arange(length, 2 * length)
    return patterns[:, queries, :, queries - distance].mean(0)


one_back = looks_back(on_repeated, 1)
behind_copy = looks_back(on_repeated, length - 1)  # the copy is `length` places back


# %% tags=["slide"]
def strongest(scores, n=5):
    best = scores.flatten().topk(n)
    pairs = [divmod(k, 9) for k in best.indices.tolist()]
    return dict(zip(pairs, best.values.tolist(), strict=True))


def row(name, scores):
    largest = [f"{n}.{h}: {score:.2f}" for (n, h), score in strongest(scores, 4).items()]
    places = ["largest of 270", "second", "third", "fourth"]
    return {"score": name, "median": f"{scores.median():.2f}"} | dict(
        zip(places, largest, strict=True)
    )


pd.DataFrame(
    [
        row("one back, repeated", one_back),
        row("one back, control", looks_back(on_control, 1)),
        row("behind the copy, repeated", behind_copy),
        row("behind the copy, control", looks_back(on_control, length - 1)),
    ]
).set_index("score")

# %% [markdown]
# Both kinds are there.
#
# - **Previous-token heads** look one place back whether or not the text repeats: repeated words and
#   control agree. That is as it should be: head 0.0 did not look at letters at all.
# - **Induction heads** look behind the copy where there *is* one. In the control, at the same
#   distance, no head of all 270 comes near. The control matters: a score alone could also be had by
#   a head that always looks 19 places back.
#
# A maximum over 270 heads is larger than a typical head's score even where there is nothing to
# find. That is why it stands beside the maximum of the control, and not beside zero.

# %% tags=["claim"]
assert set(strongest(one_back, 2)) == set(strongest(looks_back(on_control, 1), 2))
assert min(strongest(one_back, 2).values()) > 0.8
assert min(strongest(behind_copy, 4).values()) > 0.5
assert looks_back(on_control, length - 1).max() < 0.1
assert behind_copy.median() < 0.1
assert one_back.median() < 0.1

# %% tags=["slide"]
frame = pd.DataFrame(behind_copy.numpy(), index=range(30), columns=range(9)).loc[12:]
ls.course.heatmap(
    frame, title="Looking behind the copy, from block 12 on", x="head", y="layer", value="attention"
)

# %% [markdown]
# The induction heads come late. Up to block 16, no head has a score of 0.3; the strongest sit in
# blocks 17 and 18. As in the tiny model, something has to be written before it can be found.

# %% tags=["claim"]
assert behind_copy[:17].max() < 0.3
assert {layer for layer, _ in strongest(behind_copy, 4)} == {17, 18}

# %% [markdown] tags=["notes"]
# Let the class guess the number of induction heads before the table is shown. Then ask what else
# could give a high score "behind the copy" (a head that looks a fixed distance back; a head that
# looks at everything), and which row of the table rules it out.
#
# Texts are run without a beginning-of-text token, as this model's default is; token 0 is a sink for
# attention (unit 2). It is outside of both scores.

# %% [markdown] tags=["exercise"]
# ### Exercise 1.4: heads that look at the copy itself
#
# **Goal** turn a description of a head into a score · **Difficulty** ★☆☆ · **Minutes** 6
#
# A **duplicate-token head** looks from a token to the earlier copy of the *same* token. Which two
# of the 270 heads do so most, on the texts `search`? Is it more than any head of the control does?
#
# `answer` is a list of the two heads, each a pair `(layer, head)`, counted from 0.
#
# <details><summary>Hint 1</summary>How many places back does the same word stand?</details>
# <details><summary>Hint 2</summary><code>looks_back</code> and <code>strongest</code> are all that
# you need.</details>

# %% tags=["stub"]
answer = ...  # [(layer, head), (layer, head)]

# %% tags=["wrong"]
wrong = [
    list(strongest(behind_copy, 2)),  # one place too far
    list(strongest(looks_back(on_repeated, length + 1), 2)),  # one place too early
    list(strongest(one_back, 2)),
    [(head, layer) for layer, head in answer],
    list(strongest(looks_back(on_repeated, length), 3)),
    answer[0],
]

# %% tags=["solution"]
at_copy = looks_back(on_repeated, length)
print("control, largest of 270:", f"{looks_back(on_control, length).max():.2f}")
print({head: round(score, 2) for head, score in strongest(at_copy).items()})

answer = list(strongest(at_copy, 2))

# %% [markdown] tags=["slide"]
# ## 5. Do they do it?
#
# A pattern is not an effect. So we remove the four strongest induction heads, and look at the loss
# on **new** repeated texts, place by place.
#
# Compared with what? With four *other* heads, drawn at random, six times over; and with texts
# that do not repeat.


# %%
def loss_by_place(ids, removed=()):
    """Loss in nats of each next token: the mean over texts."""
    run = ls.run(model, ids, [ls.head_out(layer, head).zero() for layer, head in removed])
    log_p = run.logits[:, :-1].log_softmax(-1)
    return -log_p.gather(-1, ids[:, 1:, None]).squeeze(-1).mean(0)


four = list(strongest(behind_copy, 4))
others = [(n, h) for n in range(30) for h in range(9) if (n, h) not in four]
draw = random.Random(0)
draws = [draw.sample(others, 4) for _ in range(6)]

as_it_is = loss_by_place(test)
without_four = loss_by_place(test, four)
without_others = torch.stack([loss_by_place(test, each) for each in draws])

# %% tags=["slide"]
ls.course.lines(
    {
        "as it is": as_it_is,
        "without the four": without_four,
        "without four others (median of 6)": without_others.median(0).values,
    },
    title="Loss on random words, repeated from place 20 on",
    x="place of the next token",
    y="loss in nats",
    at=range(1, 2 * length),
)


# %%
def on_the_copy(losses):
    """The mean loss in the second half, but for its first token."""
    return losses[..., length:].mean(-1)


print(f"as it is          {on_the_copy(as_it_is):.2f}")
print(f"without the four  {on_the_copy(without_four):.2f}")
for heads, loss in sorted(zip(draws, on_the_copy(without_others), strict=True), key=lambda d: d[1]):
    print(f"without others    {loss:.2f}  ", ", ".join(f"{n}.{h}" for n, h in heads))

plain, cut = (on_the_copy(loss_by_place(test_control, heads)) for heads in ((), four))
print(f"texts that do not repeat: as it is {plain:.2f}, without the four {cut:.2f}")

# %% [markdown]
# - In the first half nothing helps, and the loss is that of random words. In the second it falls
#   far below: the model has found the repetition.
# - Without the four heads much of that gain is lost. On texts that do not repeat, the same
#   removal costs next to nothing: these heads are *about* repetition.
# - Five of six random draws cost much less. One costs **as much** as the four induction heads,
#   and contains none of them. With a single draw as the control we might have met just this one, or
#   missed it. A control has a spread, and an odd one out is worth a look: exercise 1.5.
# - Without the four, the loss of the second half is still below that of the first. Other heads do
#   some of the work (there are more in the heat map).

# %% tags=["claim"]
drawn = on_the_copy(without_others).sort().values
gain = as_it_is[: length - 1].mean() - on_the_copy(as_it_is)
lost = on_the_copy(without_four) - on_the_copy(as_it_is)
assert as_it_is[: length - 1].mean() > 12
assert gain > 6
assert 0.3 < lost / gain < 0.7
assert (behind_copy > 0.3).sum() > 4
assert cut - plain < 0.5
assert drawn[4] < on_the_copy(without_four) - 1.5  # five of the six
assert drawn[5] > on_the_copy(without_four) - 0.5  # one of the six
assert on_the_copy(without_four) < as_it_is[: length - 1].mean() - 2

# %% [markdown] tags=["notes"]
# Removing a head here means writing zeros over its output. That is the simplest kind, and not the
# fairest one: zeros are something that the blocks above never saw. Later units put a mean, or
# what the head wrote on another text, in its place.
#
# Ask before the list of draws is shown: "How many draws would you want?" The odd draw is there by
# luck of the seed, and real. Do not give away which of its heads it is.

# %% [markdown] tags=["exercise"]
# ### Exercise 1.5: who writes what they read?
#
# **Goal** find the first half of a circuit by removing it · **Difficulty** ★★★ · **Minutes** 15
#
# In the tiny model, the induction head finds its place only if the previous-token head has written
# into its keys; the look-alike does not matter. In the real model, which of the previous-token
# heads do the four induction heads depend on?
#
# Take the eight heads with the largest score "one back" (`strongest(one_back, 8)`). Remove each by
# itself, on the texts `test`, and measure the mean score "behind the copy" of the heads in `four`
# while it is removed.
#
# `answer` is a list of all those among the eight whose removal leaves *less than half* of that mean
# score, each as a pair `(layer, head)`. Compare with a few heads that do not look one back.
#
# <details><summary>Hint 1</summary><code>ls.run(model, ids, patches, keep=sites)</code> keeps sites
# of a patched run in its <code>.cache</code>; <code>ls.pattern(18, 6)</code> is the pattern of one
# head, <code>[text, query, key]</code>.</details>
# <details><summary>Hint 2</summary>The patches are those of <code>loss_by_place</code>. The score
# is that of <code>looks_back</code>, for one head: queries from 20 on, keys 19 places before
# them.</details>


# %% tags=["stub"]
def score_of_four(removed=()):
    """The mean score "behind the copy" of the four, while some heads are removed."""


answer = ...  # [(layer, head), …]

# %% tags=["wrong"]
by_score = list(strongest(one_back, 8))
wrong = [
    [(11, 1)],  # the largest score
    [(11, 1), (16, 0)],
    by_score,
    [(11, 1), (1, 2)],
    [(0, 16)],
    (16, 0),
    score_of_four,
]


# %% tags=["solution"]
def score_of_four(removed=()):
    """The mean score "behind the copy" of the four, while some heads are removed."""
    patches = [ls.head_out(layer, head).zero() for layer, head in removed]
    run = ls.run(model, test, patches, keep=[ls.pattern(*head) for head in four])
    queries = torch.arange(length, 2 * length)
    scores = [run.cache[ls.pattern(*h)][:, queries, queries - length + 1].mean() for h in four]
    return torch.stack(scores).mean().item()


candidates = list(strongest(one_back, 8))
elsewhere = [each for each in others if one_back[each] < 0.1 and each[0] < 17]
controls = random.Random(1).sample(elsewhere, 3)
whole = score_of_four()
left = {head: score_of_four([head]) / whole for head in [*candidates, *controls]}
for (n, h), share in left.items():
    print(f"{n:2}.{h}  one back {one_back[n, h]:.2f}  score left: {share:.2f}")

answer = [head for head in candidates if left[head] < 0.5]

# %% [markdown] tags=["notes"]
# One head of block 16, the block just below the first induction heads, carries it: without it their
# patterns are gone, though it is only one of many with the textbook pattern. Another head has as
# large a score, and removing it changes nothing: the real model has look-alikes, too. (What that
# one is for is an open question; it need not be idle.) The odd draw of section 5 contained the same
# head.
#
# Two of the eight stand above blocks 17 and 18, and cannot feed what is below them: that was clear
# before any run. Fast groups: is the loss hurt as much as the patterns? (`loss_by_place(test,
# answer)`: as much as by removing all four induction heads.)

# %% [markdown] tags=["slide"]
# ## What was compared with what
#
# - A pattern with the pattern on texts that do not repeat.
# - The largest of 270 scores with the largest of 270 in the control.
# - A head removed with *other* heads removed, several times.
# - Heads were chosen on some texts, and tested on others.
#
# Next: how reading and removing work, in one line each.
