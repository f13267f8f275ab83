/** Asks, remembers, and shares what is asked twice. */

import { signal, type Signal } from "@preact/signals";
import { merge } from "../answer";
import { keyOf } from "../key";
import type { Answers, Failure, Kind, Question, Recorded, Told } from "../protocol";
import { Lost, NotRecorded, type Transport } from "../transport/transport";

export type Status = "unasked" | "waiting" | "done" | "failed" | "stopped" | "lost" | "missing";

export interface Progress {
  done: number;
  total: number;
  what: string;
}

export interface Entry<K extends Kind = Kind> {
  question: Extract<Question, { kind: K }>;
  answer: Partial<Answers[K]>;
  status: Status;
  progress: Progress | null;
  failure: Failure | null;
}

interface Running {
  lanes: Set<string>;
  lane: string;
  abort: AbortController;
}

const MOST = 600;
/** Parts that come in one frame are shown in one. */
const FRAME = 16;

export class Asker {
  /** What runs now, the prefetched left out. */
  readonly busy = signal<Entry[]>([]);
  /** Grows with every answer that is complete. */
  readonly revision = signal(0);
  private readonly entries = new Map<string, Signal<Entry>>();
  private readonly running = new Map<string, Running>();

  constructor(
    private transport: Transport,
    private readonly session: string,
    private readonly onLost: () => void,
  ) {}

  /** Of a question, what is known; it may not have been asked. */
  slot<K extends Kind>(question: Extract<Question, { kind: K }>): Signal<Entry<K>> {
    const key = keyOf(question);
    let slot = this.entries.get(key);
    if (slot) this.entries.delete(key);
    else slot = signal<Entry>({ question, answer: {}, status: "unasked", progress: null, failure: null } as Entry);
    this.entries.set(key, slot);
    this.forget();
    return slot as unknown as Signal<Entry<K>>;
  }

  has(question: Question): boolean {
    return this.entries.get(keyOf(question))?.peek().status === "done";
  }

  ask(lane: string, question: Question): void {
    const key = keyOf(question);
    const slot = this.slot(question);
    this.leave(lane, key);
    if (slot.peek().status === "done") return;
    const already = this.running.get(key);
    if (already) {
      already.lanes.add(lane);
      // What waits behind all others must not hold up somebody who looks.
      if (already.lane !== "idle" || lane === "idle") return;
      this.end(key, "unasked");
    }
    this.start(lane, key, slot);
  }

  /** Ends what this lane asks; what another lane waits for as well goes on in that one. */
  leave(lane: string, except?: string): void {
    for (const [key, running] of [...this.running]) {
      if (key === except || !running.lanes.delete(lane)) continue;
      const [other] = running.lanes;
      if (running.lane !== lane && other !== undefined) continue;
      this.end(key, other === undefined ? "stopped" : "unasked");
      const slot = this.entries.get(key);
      if (other !== undefined && slot) this.start(other, key, slot);
    }
  }

  stopAll(): void {
    for (const key of [...this.running.keys()]) this.end(key, "stopped");
  }

  /** Another model or a recording answers from now on. */
  change(transport: Transport): void {
    this.stopAll();
    this.entries.clear();
    this.transport = transport;
    this.revision.value += 1;
  }

  learn(answers: Recorded["answers"]): void {
    for (const { question, parts } of answers) {
      const answer = parts.reduce((sum: object, part) => merge(question.kind, sum, part), {});
      this.slot(question).value = { question, answer, status: "done", progress: null, failure: null } as Entry;
    }
    this.revision.value += 1;
  }

  /** All that is known, as it is saved. */
  known(): Recorded["answers"] {
    return [...this.entries.values()]
      .map((slot) => slot.peek())
      .filter((entry) => entry.status === "done" && entry.question.kind !== "controls")
      .map(({ question, answer }) => ({ question, parts: [answer] }));
  }

  private start(lane: string, key: string, slot: Signal<Entry>): void {
    const abort = new AbortController();
    const running: Running = { lanes: new Set([lane]), lane, abort };
    this.running.set(key, running);
    const { question } = slot.peek();
    slot.value = { question, answer: {}, status: "waiting", progress: null, failure: null } as Entry;
    this.tellBusy();

    let pending: Told[] = [];
    let timer: ReturnType<typeof setTimeout> | undefined;
    const flush = () => {
      clearTimeout(timer);
      timer = undefined;
      if (abort.signal.aborted || !pending.length) return;
      let entry = slot.peek();
      for (const told of pending) entry = take(entry, told);
      pending = [];
      slot.value = entry;
      if (entry.progress || entry.status === "done") this.tellBusy();
    };
    const tell = (told: Told) => {
      pending.push(told);
      timer ??= setTimeout(flush, FRAME);
    };
    const finish = (status?: Status) => {
      flush();
      if (abort.signal.aborted) return;
      if (this.running.get(key) === running) this.running.delete(key);
      if (status) slot.value = { ...slot.peek(), status };
      if (slot.peek().status === "waiting") slot.value = { ...slot.peek(), status: "stopped" };
      if (slot.peek().status === "done") this.revision.value += 1;
      this.tellBusy();
    };
    this.transport.ask({ session: this.session, lane, question }, tell, abort.signal).then(
      () => finish(),
      (error: unknown) => {
        if (abort.signal.aborted) return;
        if (error instanceof NotRecorded) return finish("missing");
        if (error instanceof Lost) {
          finish("lost");
          return lane === "idle" ? undefined : this.onLost();
        }
        pending.push({ error: unexpected(error) });
        finish();
      },
    );
  }

  private end(key: string, status: Status): void {
    const running = this.running.get(key);
    const slot = this.entries.get(key);
    this.running.delete(key);
    running?.abort.abort();
    if (slot && slot.peek().status === "waiting") slot.value = { ...slot.peek(), status };
    this.tellBusy();
  }

  private tellBusy(): void {
    const now = [...this.running]
      .filter(([, running]) => running.lane !== "idle" && !running.lane.startsWith("tokens"))
      .flatMap(([key]) => this.entries.get(key)?.peek() ?? []);
    const before = this.busy.peek();
    if (now.length !== before.length || now.some((entry, index) => entry !== before[index])) this.busy.value = now;
  }

  private forget(): void {
    for (const key of this.entries.keys()) {
      if (this.entries.size <= MOST) return;
      if (!this.running.has(key)) this.entries.delete(key);
    }
  }
}

function take(entry: Entry, told: Told): Entry {
  if ("part" in told) return { ...entry, answer: merge(entry.question.kind, entry.answer, told.part) } as Entry;
  if ("progress" in told) return { ...entry, progress: told.progress };
  if ("error" in told) return { ...entry, status: "failed", failure: told.error };
  return { ...entry, status: told.stopped ? "stopped" : "done" };
}

function unexpected(error: unknown): Failure {
  return {
    what: "The answer could not be read",
    got: error instanceof Error ? error.message : String(error),
    expected: "an answer of this version of lensscope",
    instead: "Reload the page; if it stays, the server and the page are of different versions",
  };
}
