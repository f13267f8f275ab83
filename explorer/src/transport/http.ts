/** The local server of `lensscope explore`. */

import type { About, Failure, Told } from "../protocol";
import { checkAbout } from "../shapes";
import { readEvents } from "./events";
import { Lost, type Transport } from "./transport";

function headers(): Record<string, string> {
  const token = new URLSearchParams(location.search).get("token");
  return {
    "Content-Type": "application/json",
    "X-Lensscope": "explorer",
    ...(token ? { "X-Lensscope-Token": token } : {}),
  };
}

async function reach(path: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(path, { ...init, headers: headers(), credentials: "same-origin" });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Lost();
  }
}

/** A refusal's body may be a `Failure`, or anything. */
async function refusal(response: Response): Promise<Failure> {
  const text = await response.text().catch(() => "");
  try {
    const { error } = JSON.parse(text) as { error?: Failure };
    if (error && typeof error.what === "string") return error;
  } catch {
    // Not JSON: told as it is.
  }
  return {
    what: "The server refused the question",
    got: `${response.status} ${response.statusText}`.trim() + (text ? `: ${text.slice(0, 500)}` : ""),
    expected: "an answer",
    instead:
      response.status === 401 || response.status === 403
        ? "Open the address that `lensscope explore` printed, with its token"
        : "Look at the terminal where `lensscope explore` runs",
  };
}

export async function loadAbout(): Promise<About> {
  const response = await reach("about", { method: "GET" });
  if (!response.ok) {
    const failure = await refusal(response);
    throw new Error(`${failure.what}. ${failure.got}. ${failure.instead}.`);
  }
  return checkAbout(await response.json());
}

export const httpTransport: Transport = {
  live: true,
  page: true,
  async ask(asked, tell, signal) {
    const response = await reach("ask", { method: "POST", body: JSON.stringify(asked), signal });
    if (!response.ok || !response.body) return tell({ error: await refusal(response) });
    let complete = false;
    try {
      complete = await readEvents(response.body, (told: Told) => signal.aborted || tell(told));
    } catch (error) {
      if (signal.aborted) throw error;
      throw new Lost();
    }
    if (!complete && !signal.aborted) throw new Lost();
  },
  async exportPage(recorded) {
    const response = await reach("export", { method: "POST", body: JSON.stringify(recorded) });
    if (!response.ok) {
      const failure = await refusal(response);
      throw new Error(`${failure.what}. ${failure.got}. ${failure.instead}.`);
    }
    return response.text();
  },
};
