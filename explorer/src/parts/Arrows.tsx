import { clamp } from "../numbers";
import type { PatchSpec, Spot } from "../protocol";
import type { Drag } from "./drag";
import type { Box, GridHandle } from "./gridtypes";

interface Props {
  patches: PatchSpec[];
  drag: Drag | null;
  handles: (GridHandle | null)[];
  outer: HTMLElement | null;
  held: Spot | null;
}

interface End {
  box: Box;
  x: number;
  y: number;
  /** Scrolled out: what is drawn ends at the edge. */
  out: boolean;
}

/** Where patches come from and go to, over both grids. */
export function Arrows({ patches, drag, handles, outer, held }: Props) {
  if (!outer) return null;
  const origin = outer.getBoundingClientRect();
  const endOf = (spot: Spot): End | null => {
    const handle = handles[spot.prompt];
    if (!handle) return null;
    const box = handle.box(spot);
    const port = handle.port();
    const x = box.x + box.width / 2;
    const y = box.y + box.height / 2;
    const inX = clamp(x, port.x, port.x + port.width);
    const inY = clamp(y, port.y, port.y + port.height);
    return {
      box: { ...box, x: box.x - origin.left, y: box.y - origin.top },
      x: inX - origin.left,
      y: inY - origin.top,
      out: inX !== x || inY !== y,
    };
  };
  const ring = (end: End | null, name: string) =>
    end &&
    !end.out && (
      <rect
        class={`lsx-ring ${name}`}
        x={end.box.x + 1}
        y={end.box.y + 1}
        width={end.box.width - 2}
        height={end.box.height - 2}
        rx={3}
      />
    );

  return (
    <svg class="lsx-arrows" width={origin.width} height={origin.height} aria-hidden="true">
      {patches.map((patch, index) => {
        const to = endOf(patch.to);
        const from = patch.from && endOf(patch.from);
        if (!to) return null;
        if (!from)
          return (
            <g key={index}>
              {ring(to, "lsx-to")}
              {!to.out && (
                <text class="lsx-times" x={to.box.x + to.box.width - 3} y={to.box.y + 9} text-anchor="end">
                  ×
                </text>
              )}
            </g>
          );
        const { line, head } = curve(from, to);
        return (
          <g key={index} class={from.out || to.out ? "lsx-out" : undefined}>
            <path class="lsx-halo" d={line} />
            <path class="lsx-line-path" d={line} />
            <path class="lsx-point" d={head} />
            {ring(from, "lsx-from")}
            {ring(to, "lsx-to")}
          </g>
        );
      })}
      {held && ring(endOf(held), "lsx-held")}
      {drag && ring(endOf(drag.from), "lsx-held")}
      {drag?.over && ring(endOf(drag.over), "lsx-drop")}
      {drag && <path class="lsx-dragged" d={dragged(endOf(drag.from), drag.x - origin.left, drag.y - origin.top)} />}
    </svg>
  );
}

function dragged(from: End | null, x: number, y: number): string {
  return from ? `M${from.x},${from.y} L${x},${y}` : "";
}

/** From a cell's edge to the other's, bent, with a head. */
function curve(from: End, to: End): { line: string; head: string } {
  const right = to.x >= from.x;
  const across = Math.abs(to.x - from.x) >= Math.abs(to.y - from.y) * 0.6;
  const half = (end: End) => (end.out ? 0 : (across ? end.box.width : end.box.height) / 2);
  const down = to.y >= from.y;
  const start = across
    ? { x: from.x + (right ? half(from) : -half(from)), y: from.y }
    : { x: from.x, y: from.y + (down ? half(from) : -half(from)) };
  const end = across
    ? { x: to.x + (right ? -half(to) : half(to)), y: to.y }
    : { x: to.x, y: to.y + (down ? -half(to) : half(to)) };
  const reach = Math.max(24, (across ? Math.abs(end.x - start.x) : Math.abs(end.y - start.y)) * 0.45);
  const side = across ? { x: right ? reach : -reach, y: 0 } : { x: 0, y: down ? reach : -reach };
  const line = `M${start.x},${start.y} C${start.x + side.x},${start.y + side.y} ${end.x - side.x},${end.y - side.y} ${end.x},${end.y}`;
  const angle = Math.atan2(side.y, side.x);
  const corner = (turn: number) => `${end.x - 8 * Math.cos(angle + turn)},${end.y - 8 * Math.sin(angle + turn)}`;
  return { line, head: `M${end.x},${end.y} L${corner(0.45)} L${corner(-0.45)} Z` };
}
