import type { ComponentChildren } from "preact";
import type { Cell, Token } from "../protocol";

/** How a cell looks; null is one that has not come. */
export interface Look {
  /** A token, or with `plain` a number or sign. */
  text: string;
  plain?: boolean;
  background?: string;
  color?: string;
  /** Read aloud. */
  name: string;
  class?: string;
}

export interface Size {
  width: number;
  height: number;
  head: number;
  side: number;
}

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface GridHandle {
  scroller: HTMLElement;
  focus(cell: Cell): void;
  /** In the window's coordinates. */
  box(cell: Cell): Box;
  /** The part of the window in which cells are seen. */
  port(): Box;
}

export interface GridProps {
  testid: string;
  label: string;
  tokens: Token[];
  /** From the top. */
  layers: number[];
  /** A new function when what it gives is new. */
  look: (layer: number, position: number) => Look | null;
  selected: Cell | null;
  size: Size;
  onSelect?: (cell: Cell, how: "pointer" | "enter") => void;
  /** The focus was moved with keys. */
  onMove?: (cell: Cell) => void;
  /** True where the key was taken. */
  onKey?: (event: KeyboardEvent, cell: Cell) => boolean;
  onHover?: (cell: Cell | null) => void;
  onGrab?: (event: PointerEvent, cell: Cell) => void;
  onScroll?: () => void;
  onRowHead?: (layer: number, event: MouseEvent) => void;
  head?: (position: number) => ComponentChildren;
  side?: (layer: number) => ComponentChildren;
  dim?: boolean;
  busy?: boolean;
  handle?: (handle: GridHandle | null) => void;
}
