import { createContext } from "preact";
import { useContext, useEffect, useRef } from "preact/hooks";
import { keyOf } from "../key";
import type { Answers, Kind, Question } from "../protocol";
import type { App } from "./app";
import type { Entry } from "./asker";

export const AppContext = createContext<App | null>(null);

export function useApp(): App {
  const app = useContext(AppContext);
  if (!app) throw new Error("outside of an explorer");
  return app;
}

interface Options<K extends Kind> {
  /** Waited for when the question changes faster than this. */
  debounce?: number;
  /** Whether enough is there to take the place of an earlier answer. */
  useful?: (answer: Partial<Answers[K]>) => boolean;
  /** Goes on when its view is left. */
  keep?: boolean;
}

export interface Asking<K extends Kind> {
  /** Of the question as it is now. */
  entry: Entry<K> | null;
  /** What to show: the same, or an earlier one until this one is of use. */
  shown: Entry<K> | null;
  stale: boolean;
}

const QUICK = 250;

/** Asks a question in a lane, and again when it changes. */
export function useAnswer<K extends Kind>(
  lane: string,
  question: Extract<Question, { kind: K }> | null,
  { debounce = 0, useful, keep = false }: Options<K> = {},
): Asking<K> {
  const app = useApp();
  const key = question ? keyOf(question) : null;
  const again = app.again.value;
  const recording = app.transport.value;
  const changed = useRef(0);
  const slot = question ? app.asker.slot<K>(question) : null;
  const entry = slot?.value ?? null;
  const last = useRef<Entry<K> | null>(null);

  useEffect(() => {
    if (!question) {
      app.asker.leave(lane);
      return;
    }
    const { status } = app.asker.slot(question).peek();
    const now = performance.now();
    const quick = now - changed.current < QUICK;
    changed.current = now;
    if (status === "done" || !quick || !debounce) {
      app.asker.ask(lane, question);
      return;
    }
    app.asker.leave(lane, key ?? undefined);
    const timer = setTimeout(() => app.asker.ask(lane, question), debounce);
    return () => clearTimeout(timer);
  }, [key, lane, again, recording]);

  useEffect(() => (keep ? undefined : () => app.asker.leave(lane)), [lane]);

  if (!entry) last.current = null;
  else if (entry.status === "missing" || entry.status === "failed" || !useful || useful(entry.answer))
    last.current = entry;
  const shown = last.current ?? entry;
  return { entry, shown, stale: !!entry && shown !== entry && shown?.question !== entry.question };
}

/** Calls with what is the newest, however old the listener. */
export function useLatest<T>(value: T): { current: T } {
  const ref = useRef(value);
  ref.current = value;
  return ref;
}
