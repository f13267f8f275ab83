/** How questions are carried to whoever answers them. */

import type { Asked, Recorded, Told } from "../protocol";

export interface Transport {
  /** False of a recording. */
  live: boolean;
  /** In a notebook there is no address to write into. */
  page: boolean;
  /** Ends when all was told, or the signal aborts it; throws `Lost` or `NotRecorded`. */
  ask(asked: Asked, tell: (told: Told) => void, signal: AbortSignal): Promise<void>;
  /** The page as HTML. */
  exportPage: ((recorded: Recorded) => Promise<string>) | null;
}

/** Nobody answers. */
export class Lost extends Error {}

/** A recording does not hold this. */
export class NotRecorded extends Error {}
