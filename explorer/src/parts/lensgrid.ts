/** What the grids of the first two views show. */

import { useMemo } from "preact/hooks";
import { paint } from "../colour";
import { nats, quantile } from "../numbers";
import type { Answers, Cell, Colour, GridRow, Token } from "../protocol";
import { visible } from "../text";
import { cellName } from "./Grid";
import type { Look, Size } from "./gridtypes";

export interface Range {
  most: number;
  /** Some lie above it. */
  clipped: boolean;
}

export function rangeOf(rows: GridRow[], colour: Colour): Range {
  if (colour === "probability") return { most: 1, clipped: false };
  const values = rows.flatMap((row) => row[colour]);
  if (colour === "entropy") return { most: Math.max(quantile(values, 1), 1e-6), clipped: false };
  const most = Math.max(quantile(values, 0.95), 1e-6);
  return { most, clipped: values.some((value) => value > most) };
}

export const COLOURS: Record<Colour, { name: string; low: string; high: string; about: string }> = {
  probability: { name: "Probability", low: "0", high: "1", about: "of the lens' first token" },
  entropy: { name: "Entropy", low: "sure", high: "undecided", about: "of the lens' distribution, in nats" },
  kl: { name: "KL from the model", low: "the same", high: "far", about: "from the model's own next token, in nats" },
};

function told(row: GridRow, position: number, colour: Colour): string {
  const value = row[colour][position] ?? NaN;
  if (colour === "probability") return `probability ${value.toFixed(2)}`;
  return `${colour === "kl" ? "KL" : "entropy"} ${nats(value)} nats`;
}

export interface LensGrid {
  tokens: Token[];
  layers: number[];
  range: Range;
  look: (layer: number, position: number) => Look | null;
}

const NO_TOKENS: Token[] = [];

export function useLensGrid(
  answer: Partial<Answers["grid"]>,
  colour: Colour,
  dark: boolean,
  extra?: (cell: Cell) => "hidden" | "known" | "unknown" | null,
): LensGrid {
  const tokens = answer.tokens ?? NO_TOKENS;
  const layers = useMemo(() => [...(answer.layers ?? [])].sort((a, b) => b - a), [answer.layers]);
  const rows = answer.rows;
  const range = useMemo(() => rangeOf(rows ?? [], colour), [rows, colour]);
  const look = useMemo(() => {
    const byLayer = new Map((rows ?? []).map((row) => [row.layer, row]));
    return (layer: number, position: number): Look | null => {
      const name = cellName(layer, position, tokens[position]?.text);
      const mark = extra?.({ layer, position });
      if (mark === "hidden") return { text: "?", plain: true, name: `${name}: hidden`, class: "lsx-hidden" };
      const row = byLayer.get(layer);
      const text = row?.texts[position];
      if (!row || text === undefined) return null;
      return {
        text,
        name: `${name}: ${visible(text.trim() || text)}, ${told(row, position, colour)}${mark === "known" ? ", recorded" : ""}`,
        ...paint(colour, (row[colour][position] ?? 0) / range.most, dark),
        ...(mark === "known" || mark === "unknown" ? { class: `lsx-${mark}` } : {}),
      };
    };
  }, [rows, tokens, colour, dark, range, extra]);
  return { tokens, layers, range, look };
}

const USUAL: Record<"wide" | "compact", Size> = {
  wide: { width: 86, height: 26, head: 42, side: 46 },
  compact: { width: 68, height: 24, head: 40, side: 40 },
};
const PRESENTER: Record<"wide" | "compact", Size> = {
  wide: { width: 124, height: 40, head: 58, side: 62 },
  compact: { width: 96, height: 34, head: 52, side: 54 },
};

export function sizes(presenter: boolean): Record<"wide" | "compact", Size> {
  return presenter ? PRESENTER : USUAL;
}
