/** Which questions a state asks. */

import type { Cell, Prompt, Question, State } from "./protocol";

type Of<K extends Question["kind"]> = Extract<Question, { kind: K }>;

export const gridOf = (prompt: Prompt, lens: string): Of<"grid"> => ({ kind: "grid", prompt, lens });

export const cellOf = (prompt: Prompt, { layer, position }: Cell): Of<"cell"> => ({
  kind: "cell",
  prompt,
  layer,
  position,
});

export const wordsOf = (state: State, prompt: Prompt, { layer, position }: Cell): Of<"words"> => ({
  kind: "words",
  prompt,
  inspection: state.inspection,
  layer,
  position,
});

export const controlsOf = ({ inspection }: State): Of<"controls"> => ({ kind: "controls", inspection });

export const stepOf = (state: State, { layer, position }: Cell): Of<"step"> => ({
  kind: "step",
  prompt: state.prompt,
  inspection: state.inspection,
  reader: state.reader,
  layer,
  position,
});

export const patchOf = (state: State, patches = state.patches): Of<"patch"> => ({
  kind: "patch",
  prompts: state.prompts,
  patches,
  max_new_tokens: state.new_tokens,
});

export const mattersOf = ({ clean, corrupted, answer, wrong, site }: State): Of<"matters"> => ({
  kind: "matters",
  clean,
  corrupted,
  answer,
  wrong,
  site,
});

export const circuitOf = ({ clean, corrupted, answer, wrong, threshold }: State): Of<"circuit"> => ({
  kind: "circuit",
  clean,
  corrupted,
  answer,
  wrong,
  threshold,
});

/** What the view on the screen asks, the most telling first. */
export function asked(state: State): Question[] {
  switch (state.view) {
    case "grid": {
      const grid = gridOf(state.prompt, state.lens);
      return state.cell ? [wordsOf(state, state.prompt, state.cell), cellOf(state.prompt, state.cell), grid] : [grid];
    }
    case "patch":
      return [
        ...(state.patches.length ? [patchOf(state)] : []),
        gridOf(state.prompts[0], state.lens),
        gridOf(state.prompts[1], state.lens),
      ];
    case "matters":
      return state.circuit ? [circuitOf(state), mattersOf(state)] : [mattersOf(state)];
    case "step":
      return state.cell ? [stepOf(state, state.cell)] : [];
  }
}

/** Where the words and lenses are of: the residual that enters a block is the one that the block before left. */
export function stateAt(site: State["site"], cell: Cell): Cell {
  return site === "resid_pre" ? { ...cell, layer: Math.max(0, cell.layer - 1) } : cell;
}
