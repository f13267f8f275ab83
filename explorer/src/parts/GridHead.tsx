import type { ComponentChildren } from "preact";
import type { Token } from "../protocol";
import { visible } from "../text";
import { TokenText } from "./TokenText";
import type { Size } from "./gridtypes";

export interface Group {
  label: string;
  from: number;
  to: number;
}

/** Of a chat: who says which tokens. */
export function groupsOf(tokens: Token[]): Group[] {
  if (!tokens.some((token) => token.role)) return [];
  const groups: Group[] = [];
  let before: number | null | undefined;
  tokens.forEach((token, position) => {
    const message = token.message ?? null;
    const last = groups[groups.length - 1];
    if (last && before === message) last.to = position + 1;
    else groups.push({ label: token.role ?? (message === null ? "template" : ""), from: position, to: position + 1 });
    before = message;
  });
  return groups;
}

export const GROUP_HEIGHT = 22;

interface Props {
  tokens: Token[];
  groups: Group[];
  from: number;
  to: number;
  size: Size;
  current: number | null;
  head: ((position: number) => ComponentChildren) | undefined;
}

export function GridHead({ tokens, groups, from, to, size, current, head }: Props) {
  const top = groups.length ? GROUP_HEIGHT : 0;
  const cells: ComponentChildren[] = [];
  for (let position = from; position < to; position++) {
    const token = tokens[position];
    if (!token) continue;
    const special = token.special || (groups.length > 0 && (token.message ?? null) === null);
    cells.push(
      <div
        key={position}
        role="columnheader"
        class={`lsx-head${position === current ? " lsx-current" : ""}${special ? " lsx-special" : ""}`}
        aria-colindex={position + 2}
        title={`token ${position} “${visible(token.text)}”`}
        style={{
          left: `${size.side + position * size.width}px`,
          width: `${size.width}px`,
          top: `${top}px`,
          height: `${size.head}px`,
        }}
      >
        {head ? (
          head(position)
        ) : (
          <>
            <span class="lsx-index">{position}</span>
            <TokenText text={token.text} />
          </>
        )}
      </div>,
    );
  }
  return (
    <div role="row" aria-rowindex={1} class="lsx-heads" style={{ height: `${top + size.head}px` }}>
      <div role="columnheader" class="lsx-corner" aria-colindex={1} style={{ width: `${size.side}px` }}>
        layer
      </div>
      {groups
        .filter((group) => group.to > from && group.from < to)
        .map((group) => (
          <div
            key={`group ${group.from}`}
            class={group.label === "template" ? "lsx-group lsx-template" : "lsx-group"}
            aria-hidden="true"
            style={{
              left: `${size.side + group.from * size.width}px`,
              width: `${(group.to - group.from) * size.width}px`,
              height: `${GROUP_HEIGHT}px`,
            }}
          >
            <span style={{ left: `${size.side}px` }}>{group.label}</span>
          </div>
        ))}
      {cells}
    </div>
  );
}
