/** Server-sent events, from a stream of bytes. */

import type { Told } from "../protocol";

/** Feeds text in pieces; gives the data of events that are complete. */
export function eventReader(): (text: string) => string[] {
  let rest = "";
  return (text) => {
    rest = (rest + text).replace(/\r\n/g, "\n");
    const blocks = rest.split("\n\n");
    rest = blocks.pop() ?? "";
    return blocks
      .map((block) =>
        block
          .split("\n")
          .filter((line) => line.startsWith("data:"))
          .map((line) => line.slice(line.startsWith("data: ") ? 6 : 5))
          .join("\n"),
      )
      .filter(Boolean);
  };
}

/** True once the last one was told. */
export async function readEvents(body: ReadableStream<Uint8Array>, tell: (told: Told) => void): Promise<boolean> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const feed = eventReader();
  for (;;) {
    const { done, value } = await reader.read();
    for (const data of feed(done ? decoder.decode() + "\n\n" : decoder.decode(value, { stream: true }))) {
      const told = JSON.parse(data) as Told;
      tell(told);
      if ("done" in told || "error" in told) {
        void reader.cancel().catch(() => undefined);
        return true;
      }
    }
    if (done) return false;
  }
}
