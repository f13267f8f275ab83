/** The parts of an answer, put together. */

import type { Kind, Answers } from "./protocol";

/** Which lists grow, and what makes a later row take the place of an earlier one. */
const ROWS: Record<Kind, Record<string, string[]>> = {
  tokens: {},
  grid: { rows: ["layer"] },
  cell: { lenses: ["lens"] },
  words: { said: ["reader", "condition"] },
  controls: {},
  step: { steps: [], layers: ["layer"] },
  patch: { results: ["prompt"] },
  matters: { exact: ["layer"] },
  circuit: { nodes: ["site"] },
};

type Row = Record<string, unknown>;

/** A new answer; the old one stays as it was. */
export function merge<K extends Kind>(kind: K, answer: Partial<Answers[K]>, part: object): Partial<Answers[K]> {
  const result: Row = { ...answer };
  for (const [name, value] of Object.entries(part)) {
    const keys = ROWS[kind][name];
    const before = result[name];
    if (name === "notes" && Array.isArray(value) && Array.isArray(before))
      result[name] = [...new Set([...(before as string[]), ...(value as string[])])];
    else if (keys && Array.isArray(value))
      result[name] = joined(Array.isArray(before) ? before : [], value as Row[], keys);
    else result[name] = value;
  }
  return result as Partial<Answers[K]>;
}

function joined(before: Row[], more: Row[], keys: string[]): Row[] {
  if (!keys.length) return [...before, ...more];
  const rows = [...before];
  for (const row of more) {
    const at = rows.findIndex((old) => keys.every((key) => old[key] === row[key]));
    if (at < 0) rows.push(row);
    else rows[at] = row;
  }
  return rows;
}
