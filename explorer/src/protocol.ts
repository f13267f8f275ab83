/**
 * What the browser asks and what it is told. `lensscope/explore/questions.py` is the other side.
 *
 * An answer is a stream of parts. Parts of one answer are merged (`answer.ts`): lists of rows are
 * put one after another, everything else replaces what was there.
 */

export const FORMAT = "lensscope explorer";

export interface Message {
  role: string;
  content: string;
}
/** A text, or a conversation. */
export type Prompt = string | Message[];

export interface Token {
  text: string;
  /** Of a chat: the number of the message that it stands in, and who says it; null for the template's own. */
  message?: number | null;
  role?: string | null;
  /** A special token, such as BOS. */
  special?: boolean;
}

export interface Guess {
  text: string;
  probability: number;
}

export interface Cell {
  position: number;
  layer: number;
}

/** The target side of a patchscope, as one edits it. */
export interface Inspection {
  /** The preset that it began as; empty once its text was changed. */
  preset: string;
  text: Prompt;
  placeholder: string;
  /** Written into the input of this block, or at the layer that is read. */
  target: number | "same";
  max_new_tokens: number;
  /** 0 is greedy. */
  temperature: number;
  top_p: number | null;
  seed: number;
}

export type Operation = "set" | "add" | "project_out" | "scale";

/** A place in one of the two prompts of the patch view, before the last norm: a block's output. */
export interface Spot extends Cell {
  prompt: 0 | 1;
}

export interface PatchSpec {
  /** What is read; null for "scale", which takes the target's own state. */
  from: Spot | null;
  to: Spot;
  how: Operation;
  /** What the state that is written is multiplied by; 1 leaves it. Of "scale", the factor. */
  amount: number;
}

// ------------------------------------------------------------------ questions

export type Question =
  | { kind: "tokens"; prompt: Prompt; placeholder: string | null }
  | { kind: "grid"; prompt: Prompt; lens: string }
  | ({ kind: "cell"; prompt: Prompt } & Cell)
  | ({ kind: "words"; prompt: Prompt; inspection: Inspection } & Cell)
  /** What is the same for all states of a layer, asked for before one looks. */
  | { kind: "controls"; inspection: Inspection }
  | ({ kind: "step"; prompt: Prompt; inspection: Inspection; reader: string } & Cell)
  | {
      kind: "patch";
      prompts: [Prompt, Prompt];
      patches: PatchSpec[];
      max_new_tokens: number;
    }
  | {
      kind: "matters";
      clean: Prompt;
      corrupted: Prompt;
      /** Empty: the most probable next token of the clean, and of the corrupted prompt. */
      answer: string;
      wrong: string;
      site: Where;
    }
  | {
      kind: "circuit";
      clean: Prompt;
      corrupted: Prompt;
      answer: string;
      wrong: string;
      threshold: number;
    };

export type Kind = Question["kind"];
export type Where = "resid_pre" | "attn_out" | "mlp_out";

// ------------------------------------------------------------------ answers

/** Every answer says by which lines of Python one gets the same. */
interface Coded {
  python?: string;
  /** What must be known to read it right. */
  notes?: string[];
}

export interface TokensAnswer extends Coded {
  tokens: Token[];
  /** Which of them are placeholders. */
  placeholders: number[];
}

/** One layer of a grid: lists by position. */
export interface GridRow {
  layer: number;
  texts: string[];
  probability: number[];
  /** nats */
  entropy: number[];
  /** nats, from the model's own distribution */
  kl: number[];
}

export interface GridAnswer extends Coded {
  tokens: Token[];
  layers: number[];
  /** Come a few at a time, in any order. */
  rows: GridRow[];
}

export interface LensTop {
  lens: string;
  top: Guess[];
  entropy: number;
  kl: number;
}

export interface CellAnswer extends Coded {
  tokens: Token[];
  /** What the model itself says next at this token. */
  model: Guess[];
  /** One a lens, as they come. */
  lenses: LensTop[];
}

export type Condition = "state" | "nothing" | "random" | "mean" | "shuffled";
export const CONDITIONS: Condition[] = ["state", "nothing", "random", "mean", "shuffled"];

export interface Said {
  reader: string;
  condition: Condition;
  text: string;
  /** False while more words may follow. */
  done: boolean;
}

export interface WordsAnswer extends Coded {
  /** A later one with the same reader and condition replaces the earlier one. */
  said: Said[];
  /** The text whose state is "shuffled", and how many texts the mean is of. */
  shuffled_text?: string;
  mean_of?: number;
}

/** The layers whose controls are known by now. */
export interface ControlsAnswer extends Coded {
  layers: number[];
}

export interface StepAnswer extends Coded {
  tokens: Token[];
  /** The inspection prompt; the state is written at its placeholders. */
  inspection: Token[];
  placeholders: number[];
  /** Such as "resid_post(8)" and "resid_pre(2)". */
  read: string;
  written: string;
  /** What is said, token by token, with what else was probable. */
  steps: { token: string; probability: number; alternatives: Guess[] }[];
  /** What is said of nothing. */
  nothing: string;
  /** The same state at every layer, as they come. Echo: says what is said of nothing, or the placeholder again. */
  layers: { layer: number; text: string; echo: boolean }[];
}

export interface Outcome {
  text: string;
  top: Guess[];
}

export interface PatchAnswer extends Coded {
  tokens: [Token[], Token[]];
  /** One for each prompt that is patched, and the other as it is. */
  results: { prompt: 0 | 1; before: Outcome; after: Outcome | null; kl: number | null }[];
}

export interface MattersAnswer extends Coded {
  clean: Token[];
  corrupted: Token[];
  answer: string;
  wrong: string;
  /** The logit difference of both runs. */
  baselines: { clean: number; corrupted: number };
  layers: number[];
  /** By layer and position: the effect, 0 for the corrupted run and 1 for the clean one, to first order. */
  estimate: number[][];
  /** The effects that were run, layer by layer as they come. */
  exact: { layer: number; effects: number[] }[];
}

export interface Node {
  /** Such as "head 12.3" or "MLP 20". */
  name: string;
  /** Such as "head_out(12, 3).at(4)". */
  site: string;
  layer: number;
  head: number | null;
  position: number;
  effect: number;
}

export interface CircuitAnswer extends Coded {
  clean: Token[];
  answer: string;
  wrong: string;
  layers: number[];
  /** Estimates of the first order, largest first. */
  nodes: Node[];
  /** How far the nodes alone do it: 0 the corrupted run, 1 the clean one; it comes later. */
  faithfulness?: number;
  /** How many nodes there are; at most 60 of them are listed. */
  n_nodes?: number;
}

export interface Answers {
  tokens: TokensAnswer;
  grid: GridAnswer;
  cell: CellAnswer;
  words: WordsAnswer;
  controls: ControlsAnswer;
  step: StepAnswer;
  patch: PatchAnswer;
  matters: MattersAnswer;
  circuit: CircuitAnswer;
}

export interface Failure {
  what: string;
  got: string;
  expected: string;
  instead: string;
}

/** What is told of a question, one after another; the last one is `done` or `error`. */
export type Told =
  /** `more`: a later part says it again. */
  | { part: object; more?: true }
  | { progress: { done: number; total: number; what: string } }
  | { error: Failure }
  /** `stopped`: nobody waited for it any more, so it is not whole. */
  | { done: true; stopped?: true };

// ------------------------------------------------------------------ who answers

export interface About {
  format: typeof FORMAT;
  version: 1;
  /** Versions of libraries by name. */
  libraries: Record<string, string>;
  /** False in a file, where there is no model. */
  live: boolean;
  model: {
    name: string;
    fingerprint: string;
    processing: string;
    dtype: string;
    n_layers: number;
    d_model: number;
    n_ctx: number | null;
    /** Whether it has a chat template. */
    chat: boolean;
  };
  lenses: { id: string; name: string; about: string }[];
  /** The raw patchscope first, then those that were trained. */
  readers: { id: string; name: string; about: string; trained: boolean }[];
  presets: { id: string; name: string; inspection: Inspection }[];
  /** Where one begins. */
  state: State;
  limits: { prompt: number; max_new_tokens: number; patches: number };
}

export type View = "grid" | "patch" | "matters" | "step";
export type Colour = "probability" | "entropy" | "kl";

/** All of what is on the screen: it stands in the URL's fragment, and in what is saved. */
export interface State {
  version: 1;
  view: View;
  prompt: Prompt;
  lens: string;
  colour: Colour;
  cell: Cell | null;
  inspection: Inspection;
  /** Of the step view. */
  reader: string;
  /** How many of the steps were shown. */
  step: number;
  /** The patch view's two prompts. */
  prompts: [Prompt, Prompt];
  patches: PatchSpec[];
  new_tokens: number;
  /** Where it matters. */
  clean: Prompt;
  corrupted: Prompt;
  answer: string;
  wrong: string;
  site: Where;
  matters_cell: Cell | null;
  threshold: number;
  /** Of the circuit; otherwise the map is shown. */
  circuit: boolean;
  /** For the class: rows whose readings are hidden until they are asked for. */
  quiz: { layers: number[]; shown: number[] } | null;
  presenter: boolean;
  theme: "auto" | "light" | "dark";
}

/** What is saved and opened, and what an exported page holds. */
export interface Recorded {
  format: typeof FORMAT;
  version: 1;
  about: About;
  state: State;
  answers: { question: Question; parts: object[] }[];
}

// ------------------------------------------------------------------ how it is carried

/**
 * Over HTTP: `GET about`, `POST ask` with an `Asked` (a stream of server-sent events, each a
 * `Told`; closing it stops the work), `POST export` with a `Recorded` (gives a page).
 * In a notebook: messages `Sent` to Python and `Received` from it.
 */
export interface Asked {
  /** Of this tab. */
  session: string;
  /** A later question of the same lane ends an earlier one; "idle" waits for all others. */
  lane: string;
  question: Question;
}

export type Sent =
  | ({ type: "ask"; id: number } & Asked)
  | { type: "cancel"; id: number }
  | { type: "export"; id: number; recorded: Recorded };

export type Received = { id: number } & (Told | { html: string });
