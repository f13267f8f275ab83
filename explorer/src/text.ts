/** How tokens are shown: what cannot be seen gets a sign, what belongs together stays together. */

export interface Piece {
  text: string;
  /** A sign that stands for something invisible. */
  sign: boolean;
}

const INVISIBLE =
  /[\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb]|[\u{e0000}-\u{e0fff}]/u;
const PICTURE = /\p{Extended_Pictographic}|\p{Regional_Indicator}/u;
const MARK = /^\p{M}/u;

const segmenter =
  typeof Intl !== "undefined" && "Segmenter" in Intl
    ? new Intl.Segmenter(undefined, { granularity: "grapheme" })
    : null;

/** The characters as one reads them. */
export function graphemes(text: string): string[] {
  return segmenter ? Array.from(segmenter.segment(text), (part) => part.segment) : [...text];
}

function sign(character: string): string | null {
  const code = character.codePointAt(0) ?? 0;
  if (character === "\n") return "⏎";
  if (character === "\t") return "⇥";
  if (code < 32) return String.fromCharCode(0x2400 + code);
  if (code === 127) return "␡";
  if ((code >= 0x80 && code < 0xa0) || (code >= 0xd800 && code < 0xe000) || INVISIBLE.test(character))
    return "U+" + code.toString(16).toUpperCase().padStart(4, "0");
  return null;
}

function spaces(count: number): string {
  return count <= 3 ? "·".repeat(count) : `·×${count}`;
}

/** A token in pieces, of which some are signs. */
export function pieces(text: string): Piece[] {
  const found: Piece[] = [];
  const add = (more: string, isSign: boolean) => {
    const last = found[found.length - 1];
    if (last && last.sign === isSign && !(isSign && more.length + last.text.length > 5)) last.text += more;
    else found.push({ text: more, sign: isSign });
  };
  const start = /^ */.exec(text)?.[0].length ?? 0;
  const end = start === text.length ? 0 : (/ *$/.exec(text)?.[0].length ?? 0);
  if (start) add(spaces(start), true);
  for (const cluster of graphemes(text.slice(start, text.length - end))) {
    if (cluster.length > 1 && PICTURE.test(cluster)) {
      add(cluster, false);
      continue;
    }
    for (const character of cluster) {
      const shown = sign(character);
      if (shown) add(shown, true);
      // A mark without a letter would sit on its neighbour.
      else add(MARK.test(character) && cluster === character ? "◌" + character : character, false);
    }
  }
  if (end) add(spaces(end), true);
  return found.length ? found : [{ text: "∅", sign: true }];
}

/** The same as one string. */
export function visible(text: string): string {
  return pieces(text)
    .map((piece) => piece.text)
    .join("");
}

/** For names that are read aloud: without the spaces around it, where there is something else. */
export function spoken(text: string): string {
  const trimmed = text.trim();
  return trimmed ? visible(trimmed) : visible(text);
}

/** Names of lenses and readers, where something begins with them. */
export function capital(text: string): string {
  const [first = "", ...rest] = graphemes(text);
  return first.toUpperCase() + rest.join("");
}

export function cut(text: string, most: number): string {
  const parts = graphemes(text);
  return parts.length > most ? parts.slice(0, most - 1).join("") + "…" : text;
}

/** Whether two texts say the same: without case, spaces, and the punctuation around them. */
export function sameWords(first: string, second: string): boolean {
  return normal(first) === normal(second);
}

function normal(text: string): string {
  const folded = text.normalize("NFKC").toLowerCase().replace(/\s+/gu, " ").trim();
  return folded.replace(/^[\p{P}\s]+|[\p{P}\s]+$/gu, "") || folded;
}

export interface Change {
  text: string;
  changed: boolean;
}

/** The words of both texts, those that are in one only marked. */
export function differences(before: string, after: string): [Change[], Change[]] {
  const a = before.match(/\s*\S+|\s+$/gu) ?? [];
  const b = after.match(/\s*\S+|\s+$/gu) ?? [];
  const table = Array.from({ length: a.length + 1 }, () => new Array<number>(b.length + 1).fill(0));
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      table[i]![j] = a[i] === b[j] ? table[i + 1]![j + 1]! + 1 : Math.max(table[i + 1]![j]!, table[i]![j + 1]!);
  const left: Change[] = [];
  const right: Change[] = [];
  const add = (list: Change[], text: string, changed: boolean) => {
    const last = list[list.length - 1];
    if (last && last.changed === changed) last.text += text;
    else list.push({ text, changed });
  };
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      add(left, a[i++]!, false);
      add(right, b[j++]!, false);
    } else if (j >= b.length || (i < a.length && table[i + 1]![j]! >= table[i]![j + 1]!)) add(left, a[i++]!, true);
    else add(right, b[j++]!, true);
  }
  return [left, right];
}
