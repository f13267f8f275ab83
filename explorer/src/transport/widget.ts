/** A notebook: messages of an anywidget. */

import type { Received, Sent, Told } from "../protocol";
import type { Transport } from "./transport";

export interface WidgetModel {
  get(name: string): unknown;
  send(content: unknown): void;
  on(event: string, handler: (content: unknown) => void): void;
  off(event: string, handler: (content: unknown) => void): void;
}

type Handler = (message: Told | { html: string }) => void;

export interface WidgetTransport extends Transport {
  close(): void;
}

export function widgetTransport(model: WidgetModel): WidgetTransport {
  const waiting = new Map<number, Handler>();
  // Several views of one widget share its messages: numbers must not meet.
  let next = Math.floor(Math.random() * 1e9) * 1000;
  const receive = (content: unknown) => {
    const message = content as Received;
    if (typeof message?.id === "number") waiting.get(message.id)?.(message);
  };
  model.on("msg:custom", receive);
  const send = (message: Sent) => model.send(message);

  return {
    live: true,
    page: false,
    ask: (asked, tell, signal) =>
      new Promise((resolve, reject) => {
        const id = next++;
        const end = () => {
          waiting.delete(id);
          signal.removeEventListener("abort", abort);
        };
        const abort = () => {
          end();
          send({ type: "cancel", id });
          reject(new DOMException("stopped", "AbortError"));
        };
        signal.addEventListener("abort", abort);
        waiting.set(id, (message) => {
          if ("html" in message) return;
          tell(message);
          if ("done" in message || "error" in message) {
            end();
            resolve();
          }
        });
        send({ type: "ask", id, ...asked });
      }),
    exportPage: (recorded) =>
      new Promise((resolve, reject) => {
        const id = next++;
        waiting.set(id, (message) => {
          if ("html" in message) resolve(message.html);
          else if ("error" in message) reject(new Error(`${message.error.what}. ${message.error.instead}.`));
          else return;
          waiting.delete(id);
        });
        send({ type: "export", id, recorded });
      }),
    close: () => model.off("msg:custom", receive),
  };
}
