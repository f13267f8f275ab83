import { plural, signed } from "../numbers";
import type { Node, Token } from "../protocol";
import { cut, visible } from "../text";

interface Props {
  tokens: Token[];
  layers: number[];
  /** The largest first. */
  nodes: Node[];
  over: string | null;
  onOver: (site: string | null) => void;
  big: boolean;
}

/** Only these many have their names beside them. */
const NAMED = 40;
const USUAL = { column: 64, letter: 6.2, height: 18, left: 40, foot: 30, top: 8 };
const BIG = { column: 96, letter: 8.6, height: 28, left: 52, foot: 44, top: 10 };

export function CircuitDrawing({ tokens, layers, nodes, over, onOver, big }: Props) {
  const size = big ? BIG : USUAL;
  const rows = new Map(layers.map((layer, index) => [layer, index]));
  const { beside, widths } = spread(nodes, tokens.length, size);
  const starts = widths.reduce<number[]>((sums, width) => [...sums, (sums[sums.length - 1] ?? 0) + width], [size.left]);
  const middle = (position: number) => (starts[position] ?? 0) + (widths[position] ?? 0) / 2;
  const full = (starts[tokens.length] ?? size.left) + 8;
  const bottom = size.top + layers.length * size.height + 4;
  const most = Math.max(...nodes.map((node) => Math.abs(node.effect)), 1e-9);
  const named = new Set(nodes.slice(0, NAMED).map(({ site }) => site));
  return (
    <div class="lsx-scroll lsx-drawing" tabIndex={0} role="region" aria-label="Drawing of the circuit">
      <svg
        width={full}
        height={bottom}
        viewBox={`0 0 ${full} ${bottom}`}
        role="img"
        aria-label={`${plural(nodes.length, "node")} by token and layer; the table lists them`}
      >
        {layers.map((layer, index) => {
          const y = size.top + (index + 0.5) * size.height;
          return (
            <g key={layer}>
              <line class="lsx-rule" x1={size.left} x2={full} y1={y} y2={y} />
              <text class="lsx-axis" x={size.left - 8} y={y} text-anchor="end" dominant-baseline="central">
                {layer}
              </text>
            </g>
          );
        })}
        {tokens.map((_, position) => (
          <line key={position} class="lsx-rule" x1={middle(position)} x2={middle(position)} y1={size.top} y2={bottom} />
        ))}
        {[...nodes].reverse().map((node) => {
          const row = rows.get(node.layer);
          if (row === undefined) return null;
          return (
            <Mark
              key={node.site}
              node={node}
              x={middle(node.position) + (beside.get(node.site) ?? 0)}
              y={size.top + (row + 0.5) * size.height}
              radius={3.5 + (size.height * 0.42 - 3.5) * Math.sqrt(Math.abs(node.effect) / most)}
              token={tokens[node.position]?.text ?? ""}
              named={named.has(node.site)}
              over={over === node.site}
              onOver={onOver}
            />
          );
        })}
      </svg>
      <svg class="lsx-foot" width={full} height={size.foot} viewBox={`0 0 ${full} ${size.foot}`} aria-hidden="true">
        {tokens.map((token, position) => (
          <text
            key={position}
            class="lsx-axis"
            x={middle(position)}
            y={size.foot / 2}
            text-anchor="middle"
            dominant-baseline="central"
          >
            <title>{visible(token.text)}</title>
            {cut(visible(token.text), 8)}
          </text>
        ))}
      </svg>
    </div>
  );
}

interface MarkProps {
  node: Node;
  x: number;
  y: number;
  radius: number;
  token: string;
  named: boolean;
  over: boolean;
  onOver: (site: string | null) => void;
}

function Mark({ node, x, y, radius, token, named, over, onOver }: MarkProps) {
  const towards = node.effect >= 0;
  const corner = radius * 1.2;
  return (
    <g
      class={`${towards ? "lsx-plus" : "lsx-minus"}${over ? " lsx-over" : ""}`}
      onMouseEnter={() => onOver(node.site)}
      onMouseLeave={() => onOver(null)}
    >
      <title>{`${node.name} at token ${node.position} “${visible(token)}”: ${signed(node.effect, 3, true)}`}</title>
      {towards ? (
        <circle cx={x} cy={y} r={radius} />
      ) : (
        <path d={`M${x},${y - corner} L${x + corner},${y} L${x},${y + corner} L${x - corner},${y} Z`} />
      )}
      {named && (
        <text class="lsx-node-name" x={x + radius + 4} y={y} dominant-baseline="central">
          {node.name}
        </text>
      )}
    </g>
  );
}

/** Nodes of one cell stand beside each other, and a column is as wide as they need. */
function spread(nodes: Node[], count: number, { column, letter }: typeof USUAL) {
  const cells = new Map<string, Node[]>();
  for (const node of nodes) {
    const key = `${node.layer} ${node.position}`;
    cells.set(key, [...(cells.get(key) ?? []), node]);
  }
  const beside = new Map<string, number>();
  const widths = new Array<number>(count).fill(column);
  for (const group of cells.values()) {
    const needs = group.map((node) => (node.name.length + 4) * letter);
    const all = needs.reduce((sum, need) => sum + need, 0);
    // One alone stands on the line, with its name to the right of it.
    let at = group.length > 1 ? -all / 2 + 1.5 * letter : 0;
    group.forEach((node, index) => {
      beside.set(node.site, at);
      at += needs[index]!;
    });
    const { position } = group[0]!;
    widths[position] = Math.max(widths[position] ?? column, group.length > 1 ? all : 2 * all - 3 * letter);
  }
  return { beside, widths };
}
