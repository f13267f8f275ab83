/** A state is dragged from one cell onto another: with a mouse at once, with a finger after a moment. */

import { useEffect, useRef, useState } from "preact/hooks";
import type { Spot } from "../protocol";
import { useLatest } from "../store/hooks";
import { cellAt } from "./Grid";

export interface Drag {
  from: Spot;
  over: Spot | null;
  x: number;
  y: number;
}

const FAR = 5;
const HELD = 350;
const EDGE = 28;

function spotUnder(root: Document | ShadowRoot, x: number, y: number): Spot | null {
  const element = root.elementFromPoint(x, y);
  const grid = element?.closest<HTMLElement>("[data-prompt]");
  const cell = cellAt(element);
  return grid && cell ? { prompt: grid.dataset.prompt === "1" ? 1 : 0, ...cell } : null;
}

/** Near its edge a grid moves on. */
function creep(root: Document | ShadowRoot, x: number, y: number): void {
  const box = root.elementFromPoint(x, y)?.closest<HTMLElement>(".lsx-grid");
  if (!box) return;
  const outer = box.getBoundingClientRect();
  if (x > outer.right - EDGE) box.scrollLeft += 12;
  else if (x < outer.left + EDGE * 2) box.scrollLeft -= 12;
  if (y > outer.bottom - EDGE) box.scrollTop += 12;
  else if (y < outer.top + EDGE * 2) box.scrollTop -= 12;
}

export function useDrag(area: { current: HTMLElement | null }, onDrop: (from: Spot, to: Spot) => void) {
  const [drag, setDrag] = useState<Drag | null>(null);
  const drop = useLatest(onDrop);
  const ended = useRef(0);
  const dragging = useRef(false);

  // A finger that drags a state must not scroll the page; the browser wants to know of this beforehand.
  useEffect(() => {
    const element = area.current;
    const hold = (event: TouchEvent) => dragging.current && event.cancelable && event.preventDefault();
    element?.addEventListener("touchmove", hold, { passive: false });
    return () => element?.removeEventListener("touchmove", hold);
  }, []);

  const grab = (event: PointerEvent, from: Spot) => {
    if (event.button !== 0 || !event.isPrimary) return;
    const target = event.target as Element;
    const root = target.getRootNode() as Document | ShadowRoot;
    const start = { x: event.clientX, y: event.clientY };
    const touch = event.pointerType !== "mouse";
    let moving = false;
    let now: Drag | null = null;

    const begin = () => {
      moving = true;
      dragging.current = true;
      update(start.x, start.y);
    };
    const update = (x: number, y: number) => {
      now = { from, over: spotUnder(root, x, y), x, y };
      setDrag(now);
    };
    const timer = touch ? setTimeout(begin, HELD) : undefined;
    const move = (next: PointerEvent) => {
      if (next.pointerId !== event.pointerId) return;
      const far = Math.hypot(next.clientX - start.x, next.clientY - start.y) > FAR;
      if (!moving && far) {
        if (touch) return end();
        begin();
      }
      if (moving) {
        next.preventDefault();
        creep(root, next.clientX, next.clientY);
        update(next.clientX, next.clientY);
      }
    };
    const escape = (next: KeyboardEvent) => next.key === "Escape" && end();
    const up = (next: PointerEvent) => {
      if (next.pointerId !== event.pointerId) return;
      const done = moving ? now : null;
      end();
      if (!done) return;
      ended.current = performance.now();
      const { over } = done;
      if (over && !(over.prompt === from.prompt && over.layer === from.layer && over.position === from.position))
        drop.current(from, over);
    };
    const cancel = () => end();
    const noMenu = (next: Event) => touch && next.preventDefault();
    const end = () => {
      clearTimeout(timer);
      moving = false;
      dragging.current = false;
      setDrag(null);
      window.removeEventListener("pointermove", move);
      window.removeEventListener("pointerup", up);
      window.removeEventListener("pointercancel", cancel);
      window.removeEventListener("keydown", escape, true);
      window.removeEventListener("contextmenu", noMenu);
    };
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", up);
    window.addEventListener("pointercancel", cancel);
    window.addEventListener("keydown", escape, true);
    window.addEventListener("contextmenu", noMenu);
  };

  /** A click right after a drop is its end. */
  const justDropped = () => performance.now() - ended.current < 100;
  return { drag, grab, justDropped };
}
