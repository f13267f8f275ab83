/** Layers by tokens. Of a large one, only what is seen is in the page. */

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { clamp } from "../numbers";
import type { Cell } from "../protocol";
import { useLatest } from "../store/hooks";
import { spoken } from "../text";
import { GridHead, GROUP_HEIGHT, groupsOf } from "./GridHead";
import { GridRow } from "./GridRow";
import type { GridProps } from "./gridtypes";

interface Window {
  top: number;
  bottom: number;
  left: number;
  right: number;
}

const SPARE = 2;

export function cellName(layer: number, position: number, token: string | undefined): string {
  return `layer ${layer}, token ${position} "${spoken(token ?? "")}"`;
}

export function Grid(props: GridProps) {
  const { tokens, layers, look, selected, size } = props;
  const scroller = useRef<HTMLDivElement>(null);
  const [seen, setSeen] = useState<Window>({ top: 0, bottom: 40, left: 0, right: 24 });
  const [active, setActive] = useState<Cell>(() => selected ?? { layer: layers[0] ?? 0, position: 0 });
  const wanted = useRef(false);
  const groups = useMemo(() => groupsOf(tokens), [tokens]);
  const head = size.head + (groups.length ? GROUP_HEIGHT : 0);
  const latest = useLatest(props);

  const rowOf = (layer: number) => clamp(layers.indexOf(layer), 0, layers.length - 1);
  const at: Cell = {
    layer: layers.includes(active.layer) ? active.layer : (layers[0] ?? 0),
    position: clamp(active.position, 0, Math.max(0, tokens.length - 1)),
  };

  const lookAround = () => {
    const box = scroller.current;
    if (!box) return;
    const { size: now } = latest.current;
    const next: Window = {
      top: Math.max(0, Math.floor(box.scrollTop / now.height) - SPARE),
      bottom: Math.ceil((box.scrollTop + box.clientHeight - head) / now.height) + SPARE,
      left: Math.max(0, Math.floor(box.scrollLeft / now.width) - SPARE),
      right: Math.ceil((box.scrollLeft + box.clientWidth - now.side) / now.width) + SPARE,
    };
    setSeen((old) =>
      old.top === next.top && old.bottom === next.bottom && old.left === next.left && old.right === next.right
        ? old
        : next,
    );
  };

  const place = (cell: Cell) => ({
    x: size.side + cell.position * size.width,
    y: head + rowOf(cell.layer) * size.height,
  });

  /** Scrolls as little as is needed, and not behind the headers. */
  const show = (cell: Cell) => {
    const box = scroller.current;
    if (!box) return;
    const { x, y } = place(cell);
    if (y - head < box.scrollTop) box.scrollTop = y - head;
    else if (y + size.height > box.scrollTop + box.clientHeight) box.scrollTop = y + size.height - box.clientHeight;
    if (x - size.side < box.scrollLeft) box.scrollLeft = x - size.side;
    else if (x + size.width > box.scrollLeft + box.clientWidth) box.scrollLeft = x + size.width - box.clientWidth;
  };

  useLayoutEffect(lookAround, [size, tokens.length, layers.length]);
  useEffect(() => {
    const box = scroller.current;
    if (!box || typeof ResizeObserver === "undefined") return;
    const observer = new ResizeObserver(() => {
      lookAround();
      latest.current.onScroll?.();
    });
    observer.observe(box);
    return () => observer.disconnect();
  }, []);

  useEffect(() => {
    if (!selected) return;
    setActive(selected);
    show(selected);
  }, [selected?.layer, selected?.position, tokens, layers]);

  useLayoutEffect(() => {
    if (!wanted.current) return;
    wanted.current = false;
    show(at);
    scroller.current
      ?.querySelector<HTMLElement>(`[data-layer="${at.layer}"][data-position="${at.position}"]`)
      ?.focus({ preventScroll: true });
  }, [at.layer, at.position]);

  useEffect(() => {
    const box = scroller.current;
    if (!box || !props.handle) return;
    props.handle({
      scroller: box,
      focus: (cell) => {
        wanted.current = true;
        setActive({ ...cell });
      },
      box: (cell) => {
        const outer = box.getBoundingClientRect();
        const { x, y } = place(cell);
        return {
          x: outer.left + x - box.scrollLeft,
          y: outer.top + y - box.scrollTop,
          width: size.width,
          height: size.height,
        };
      },
      port: () => {
        const outer = box.getBoundingClientRect();
        return {
          x: outer.left + size.side,
          y: outer.top + head,
          width: box.clientWidth - size.side,
          height: box.clientHeight - head,
        };
      },
    });
    return () => props.handle?.(null);
  }, [size, head, layers]);

  const go = (cell: Cell) => {
    wanted.current = true;
    setActive(cell);
    props.onMove?.(cell);
  };

  const onKeyDown = (event: KeyboardEvent) => {
    if ((event.target as Element).getAttribute("role") !== "gridcell") return;
    if (props.onKey?.(event, at)) return event.preventDefault();
    if (event.altKey || event.metaKey) return;
    const row = rowOf(at.layer);
    const lastRow = layers.length - 1;
    const lastColumn = tokens.length - 1;
    const page = Math.max(1, Math.floor(((scroller.current?.clientHeight ?? 0) - head) / size.height) - 1);
    const to = (newRow: number, column: number) => {
      event.preventDefault();
      go({ layer: layers[clamp(newRow, 0, lastRow)] ?? 0, position: clamp(column, 0, lastColumn) });
    };
    switch (event.key) {
      case "ArrowUp":
        return to(row - 1, at.position);
      case "ArrowDown":
        return to(row + 1, at.position);
      case "ArrowLeft":
        return to(row, at.position - 1);
      case "ArrowRight":
        return to(row, at.position + 1);
      case "PageUp":
        return to(row - page, at.position);
      case "PageDown":
        return to(row + page, at.position);
      case "Home":
        return to(event.ctrlKey ? 0 : row, 0);
      case "End":
        return to(event.ctrlKey ? lastRow : row, lastColumn);
      case "Enter":
      case " ":
        event.preventDefault();
        props.onSelect?.(at, "enter");
    }
  };

  const top = clamp(seen.top, 0, layers.length);
  const bottom = clamp(seen.bottom, top, layers.length);
  const left = clamp(seen.left, 0, tokens.length);
  const right = clamp(seen.right, left, tokens.length);
  const rows = layers.slice(top, bottom).map((layer, index) => ({ layer, index: top + index }));
  const activeRow = rowOf(at.layer);
  if (layers.length && (activeRow < top || activeRow >= bottom)) rows.push({ layer: at.layer, index: activeRow });
  const label = useMemo(
    () => (layer: number, position: number) => cellName(layer, position, tokens[position]?.text),
    [tokens],
  );

  return (
    <div
      ref={scroller}
      role="grid"
      class={`lsx-grid${props.dim ? " lsx-dim" : ""}`}
      aria-label={props.label}
      aria-rowcount={layers.length + 1}
      aria-colcount={tokens.length + 1}
      aria-busy={props.busy ?? false}
      data-testid={props.testid}
      onScroll={() => {
        lookAround();
        props.onScroll?.();
      }}
      onKeyDown={onKeyDown}
      onFocusIn={(event) => {
        const cell = cellAt(event.target);
        if (cell && (cell.layer !== at.layer || cell.position !== at.position)) setActive(cell);
        if (cell) props.onHover?.(cell);
      }}
      onClick={(event) => {
        const cell = cellAt(event.target);
        if (cell) {
          setActive(cell);
          props.onSelect?.(cell, "pointer");
          return;
        }
        const side = (event.target as Element).closest<HTMLElement>("[data-side]");
        if (side && !(event.target as Element).closest("button")) props.onRowHead?.(Number(side.dataset.side), event);
      }}
      onPointerDown={(event) => {
        const cell = props.onGrab && cellAt(event.target);
        if (cell) props.onGrab?.(event, cell);
      }}
      onPointerOver={(event) => props.onHover && event.pointerType === "mouse" && props.onHover(cellAt(event.target))}
      onPointerLeave={() => props.onHover?.(null)}
    >
      <div
        role="presentation"
        class="lsx-sheet"
        style={{
          width: `${size.side + tokens.length * size.width}px`,
          height: `${head + layers.length * size.height}px`,
        }}
      >
        <GridHead
          tokens={tokens}
          groups={groups}
          from={left}
          to={right}
          size={size}
          current={selected?.position ?? null}
          head={props.head}
        />
        {rows.map(({ layer, index }) => (
          <GridRow
            key={layer}
            layer={layer}
            index={index}
            from={left}
            to={right}
            look={look}
            size={size}
            head={head}
            active={layer === at.layer ? at.position : null}
            selected={selected?.layer === layer ? selected.position : null}
            current={selected?.layer === layer}
            label={label}
            side={props.side}
          />
        ))}
      </div>
    </div>
  );
}

/** Which cell an element stands in. */
export function cellAt(target: EventTarget | null): Cell | null {
  const found = target instanceof Element ? target.closest<HTMLElement>("[data-position]") : null;
  return found ? { layer: Number(found.dataset.layer), position: Number(found.dataset.position) } : null;
}
