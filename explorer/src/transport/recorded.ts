/** A recording: only what was asked then is known. */

import { keyOf } from "../key";
import type { Recorded } from "../protocol";
import { NotRecorded, type Transport } from "./transport";

export function recordedTransport(recorded: Recorded, page: boolean): Transport {
  const known = new Map(recorded.answers.map(({ question, parts }) => [keyOf(question), parts]));
  return {
    live: false,
    page,
    async ask({ question }, tell) {
      const parts = known.get(keyOf(question));
      if (!parts) throw new NotRecorded();
      for (const part of parts) tell({ part });
      tell({ done: true });
    },
    exportPage: null,
  };
}
