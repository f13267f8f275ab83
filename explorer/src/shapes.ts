/** The shapes of `protocol.ts`, as checks. */

import {
  also,
  boolean,
  type Check,
  either,
  integer,
  list,
  measured,
  nullable,
  number,
  object,
  one,
  pair,
  partial,
  record,
  string,
  Unfit,
} from "./check";
import { keyOf } from "./key";
import { CONDITIONS, FORMAT } from "./protocol";
import type {
  About,
  Answers,
  Inspection,
  Kind,
  PatchSpec,
  Prompt,
  Question,
  Recorded,
  Spot,
  State,
  Token,
} from "./protocol";

const layer = integer(0, 10_000);
const place = integer(0, 1_000_000);
const prompt: Check<Prompt> = either(string(), list(object({ role: string(100), content: string() }), 1_000));
const cell = object({ position: place, layer });
const which = one(0, 1);
const where = one("resid_pre", "attn_out", "mlp_out");
const spot: Check<Spot> = object({ prompt: which, position: place, layer });

const inspection: Check<Inspection> = object({
  preset: string(200),
  text: prompt,
  placeholder: string(200),
  target: either(one("same"), layer),
  max_new_tokens: integer(1, 1_000),
  temperature: number(0, 100),
  top_p: nullable(number(0, 1)),
  seed: integer(-Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
});

const patch: Check<PatchSpec> = object({
  from: nullable(spot),
  to: spot,
  how: one("set", "add", "project_out", "scale"),
  amount: number(-1e6, 1e6),
});

/** Whole, from a file; a link may lack some. */
const stateFields = {
  version: one(1),
  view: one("grid", "patch", "matters", "step"),
  prompt,
  lens: string(200),
  colour: one("probability", "entropy", "kl"),
  cell: nullable(cell),
  inspection,
  reader: string(200),
  step: integer(),
  prompts: pair(prompt),
  patches: list(patch, 1_000),
  new_tokens: integer(0, 1_000),
  clean: prompt,
  corrupted: prompt,
  answer: string(1_000),
  wrong: string(1_000),
  site: where,
  matters_cell: nullable(cell),
  threshold: number(0, 1),
  circuit: boolean,
  quiz: nullable(object({ layers: list(layer, 10_000), shown: list(layer, 10_000) })),
  presenter: boolean,
  theme: one("auto", "light", "dark"),
};
const state: Check<State> = object(stateFields);
export const stateParts: Check<Partial<State>> = partial(stateFields);

const about: Check<About> = object({
  format: one(FORMAT),
  version: one(1),
  libraries: record(string(200)),
  live: boolean,
  model: object({
    name: string(1_000),
    fingerprint: string(1_000),
    processing: string(10_000),
    dtype: string(100),
    n_layers: integer(1, 10_000),
    d_model: integer(1),
    n_ctx: nullable(integer(1, 1_000_000_000)),
    chat: boolean,
  }),
  lenses: list(object({ id: string(200), name: string(200), about: string() }), 100),
  readers: list(object({ id: string(200), name: string(200), about: string(), trained: boolean }), 100),
  presets: list(object({ id: string(200), name: string(200), inspection }), 1_000),
  state,
  limits: object({ prompt: integer(), max_new_tokens: integer(), patches: integer() }),
});

const kinds: Record<Kind, Check<Question>> = {
  tokens: object({ kind: one("tokens"), prompt, placeholder: nullable(string(200)) }),
  grid: object({ kind: one("grid"), prompt, lens: string(200) }),
  cell: object({ kind: one("cell"), prompt, position: place, layer }),
  words: object({ kind: one("words"), prompt, inspection, position: place, layer }),
  controls: object({ kind: one("controls"), inspection }),
  step: object({ kind: one("step"), prompt, inspection, reader: string(200), position: place, layer }),
  patch: object({
    kind: one("patch"),
    prompts: pair(prompt),
    patches: list(patch, 1_000),
    max_new_tokens: integer(0, 1_000),
  }),
  matters: object({
    kind: one("matters"),
    clean: prompt,
    corrupted: prompt,
    answer: string(1_000),
    wrong: string(1_000),
    site: where,
  }),
  circuit: object({
    kind: one("circuit"),
    clean: prompt,
    corrupted: prompt,
    answer: string(1_000),
    wrong: string(1_000),
    threshold: number(0, 10),
  }),
};
const kind = one("tokens", "grid", "cell", "words", "controls", "step", "patch", "matters", "circuit");

const tokens: Check<Token[]> = list(
  also(
    object({ text: string() }),
    partial({ message: nullable(integer(-1)), role: nullable(string(100)), special: boolean }),
  ) as Check<Token>,
);
const guesses = list(object({ text: string(), probability: measured }), 1_000);
const numbers = list(measured);
const layers = list(layer, 10_000);
const coded = { python: string(), notes: list(string(), 1_000) };
const outcome = object({ text: string(), top: guesses });

const answers: { [K in Kind]: Check<Partial<Answers[K]>> } = {
  tokens: partial({ ...coded, tokens, placeholders: list(place) }),
  grid: partial({
    ...coded,
    tokens,
    layers,
    rows: list(object({ layer, texts: list(string()), probability: numbers, entropy: numbers, kl: numbers })),
  }),
  cell: partial({
    ...coded,
    tokens,
    model: guesses,
    lenses: list(object({ lens: string(200), top: guesses, entropy: measured, kl: measured })),
  }),
  words: partial({
    ...coded,
    shuffled_text: string(),
    mean_of: integer(),
    said: list(object({ reader: string(200), condition: one(...CONDITIONS), text: string(), done: boolean })),
  }),
  controls: partial({ ...coded, layers }),
  step: partial({
    ...coded,
    tokens,
    inspection: tokens,
    placeholders: list(place),
    read: string(),
    written: string(),
    nothing: string(),
    steps: list(object({ token: string(), probability: measured, alternatives: guesses })),
    layers: list(object({ layer, text: string(), echo: boolean })),
  }),
  patch: partial({
    ...coded,
    tokens: pair(tokens),
    results: list(object({ prompt: which, before: outcome, after: nullable(outcome), kl: nullable(number()) })),
  }),
  matters: partial({
    ...coded,
    clean: tokens,
    corrupted: tokens,
    answer: string(),
    wrong: string(),
    layers,
    baselines: object({ clean: measured, corrupted: measured }),
    estimate: list(numbers),
    exact: list(object({ layer, effects: numbers })),
  }),
  circuit: partial({
    ...coded,
    clean: tokens,
    answer: string(),
    wrong: string(),
    layers,
    faithfulness: measured,
    nodes: list(
      object({ name: string(), site: string(), layer, head: nullable(integer()), position: place, effect: measured }),
    ),
  }),
};

const question: Check<Question> = (value, path) => {
  const found = object({ kind })(value, path);
  return kinds[found.kind](value, path);
};

const answered: Check<Recorded["answers"][number]> = (value, path) => {
  const found = object({ question, parts: list((part) => part, 10_000) })(value, path);
  const check = answers[found.question.kind];
  return { question: found.question, parts: found.parts.map((part, index) => check(part, `${path}.parts[${index}]`)) };
};

export const checkAbout = (value: unknown): About => about(value, "about");

/** A file; an answer that does not fit is left out, and counted. */
export function checkRecorded(value: unknown): { recorded: Recorded; left: number } {
  const shell = object({ format: one(FORMAT), version: one(1), about, state, answers: list((item) => item, 20_000) })(
    value,
    "",
  );
  const kept = new Map<string, Recorded["answers"][number]>();
  let left = 0;
  shell.answers.forEach((item, index) => {
    try {
      const fit = answered(item, `answers[${index}]`);
      kept.set(keyOf(fit.question), fit);
    } catch (error) {
      if (!(error instanceof Unfit)) throw error;
      left += 1;
    }
  });
  return { recorded: { ...shell, answers: [...kept.values()] }, left };
}
