/** While nobody waits, the neighbours of what is looked at are asked. */

import { effect } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { keyOf } from "../key";
import type { Question } from "../protocol";
import { useApp } from "./hooks";

const CALM = 400;

export function usePrefetch(questions: Question[], after: Question[]): void {
  const app = useApp();
  const key = [...questions, ...after].map(keyOf).join();

  useEffect(() => {
    if (!questions.length || app.recording.peek()) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let stop: (() => void) | undefined;
    const next = () => {
      stop?.();
      // Who stopped the answer itself does not want its neighbours.
      if (!after.every((each) => app.asker.has(each))) return;
      const question = questions.find(
        (each) => app.asker.slot(each).peek().status === "unasked" || stoppedEarlier(each),
      );
      if (!question) return;
      app.asker.ask("idle", question);
      const slot = app.asker.slot(question);
      stop = effect(() => {
        const { status } = slot.value;
        if (status !== "waiting" && status !== "unasked") timer = setTimeout(next, 0);
      });
    };
    const tried = new Set<Question>();
    const stoppedEarlier = (question: Question) => {
      if (app.asker.slot(question).peek().status !== "stopped" || tried.has(question)) return false;
      tried.add(question);
      return true;
    };
    const calm = () => {
      clearTimeout(timer);
      stop?.();
      stop = undefined;
      app.asker.leave("idle");
      timer = setTimeout(next, CALM);
    };
    const watch = effect(() => {
      if (app.asker.busy.value.length) clearTimeout(timer);
      else calm();
    });
    app.interrupt = calm;
    return () => {
      watch();
      stop?.();
      clearTimeout(timer);
      app.interrupt = null;
      app.asker.leave("idle");
    };
  }, [key, app.recording.value]);
}
