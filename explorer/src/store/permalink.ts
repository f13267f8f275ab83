/** The state in the URL's fragment. */

import { canonical } from "../key";
import type { State } from "../protocol";
import { stateParts } from "../shapes";

export function encode(state: State): string {
  const bytes = new TextEncoder().encode(canonical(state));
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

/** Throws where it is malformed. */
export function decode(fragment: string): Partial<State> {
  const text = fragment.replace(/^#/, "").replace(/-/g, "+").replace(/_/g, "/");
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return stateParts(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)), "");
}
