/** Scales of colour, and the ink that can be read on them. */

import { clamp } from "./numbers";
import type { Colour } from "./protocol";

export interface Paint {
  background: string;
  color: string;
}

type Rgb = [number, number, number];
type Scale = Colour | "effect";

const LIGHT: Record<Scale, string[]> = {
  probability: ["#ffffff", "#dbe9f6", "#a6cbe9", "#5d9dd2", "#24659f", "#0d3f73"],
  entropy: ["#ffffff", "#fbe8cf", "#f5c98f", "#e39a4b", "#b26414", "#7a3d00"],
  kl: ["#ffffff", "#ece3f4", "#cfbbe3", "#a583c8", "#7648a3", "#4c2178"],
  effect: ["#8f3f00", "#c96a14", "#eca35e", "#f9dcbc", "#ffffff", "#cfe2f3", "#86b6de", "#3478b8", "#0f4680"],
};
const DARK: Record<Scale, string[]> = {
  probability: ["#17191d", "#182c40", "#1b4670", "#2569a8", "#4f98d8", "#a9d6fb"],
  entropy: ["#17191d", "#33260f", "#5b3c10", "#915b12", "#cc8a36", "#fbd49a"],
  kl: ["#17191d", "#2a2140", "#45316b", "#66499c", "#9877cf", "#d9c6f8"],
  effect: ["#ffb873", "#d8853a", "#9a5716", "#4a2f14", "#17191d", "#16324d", "#1f5a90", "#4491d3", "#a4d4fb"],
};
const STEPS = 96;

function parse(hex: string): Rgb {
  const value = parseInt(hex.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

function luminance(rgb: Rgb): number {
  const [r, g, b] = rgb.map((channel) => {
    const share = channel / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  }) as Rgb;
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** Black or white, whichever stands out more: never below 4.5 to 1. */
export function inkOn(rgb: Rgb): string {
  const light = luminance(rgb);
  return (light + 0.05) / 0.05 >= 1.05 / (light + 0.05) ? "#000" : "#fff";
}

const made = new Map<string, Paint[]>();

function table(scale: Scale, dark: boolean): Paint[] {
  const key = scale + dark;
  let paints = made.get(key);
  if (!paints) {
    const stops = (dark ? DARK : LIGHT)[scale].map(parse);
    paints = Array.from({ length: STEPS + 1 }, (_, step) => {
      const place = (step / STEPS) * (stops.length - 1);
      const at = Math.min(Math.floor(place), stops.length - 2);
      const rest = place - at;
      const rgb = stops[at]!.map((low, channel) => Math.round(low + (stops[at + 1]![channel]! - low) * rest)) as Rgb;
      return { background: `rgb(${rgb.join(" ")})`, color: inkOn(rgb) };
    });
    made.set(key, paints);
  }
  return paints;
}

/** `share` goes from 0 to 1; of effects, from -1 to 1. */
export function paint(scale: Scale, share: number, dark: boolean): Paint {
  const at = scale === "effect" ? (clamp(share, -1, 1) + 1) / 2 : clamp(share, 0, 1);
  return table(scale, dark)[Math.round((Number.isFinite(at) ? at : 0) * STEPS)]!;
}

/** For a legend. */
export function ramp(scale: Scale, dark: boolean): string {
  return `linear-gradient(to right, ${(dark ? DARK : LIGHT)[scale].join(", ")})`;
}
