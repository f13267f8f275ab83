import { Component, type ComponentChildren, type VNode } from "preact";
import { TokenText } from "./TokenText";
import type { Look, Size } from "./gridtypes";

interface Props {
  layer: number;
  index: number;
  from: number;
  to: number;
  look: (layer: number, position: number) => Look | null;
  size: Size;
  head: number;
  /** Where the focus is, in this row. */
  active: number | null;
  selected: number | null;
  current: boolean;
  label: (layer: number, position: number) => string;
  side: ((layer: number) => ComponentChildren) | undefined;
}

/** Only what changed is drawn again: most rows stay as they are while one scrolls or looks around. */
export class GridRow extends Component<Props> {
  private readonly cells = new Map<number, VNode>();

  override shouldComponentUpdate(next: Props): boolean {
    return (Object.keys(next) as (keyof Props)[]).some((name) => next[name] !== this.props[name]);
  }

  override componentWillUpdate(next: Props): void {
    const { look, size, label, active, selected } = this.props;
    if (next.look !== look || next.size !== size || next.label !== label) this.cells.clear();
    for (const position of [active, selected, next.active, next.selected])
      if (position !== null) this.cells.delete(position);
  }

  private cell(position: number): VNode {
    const { layer, look, size, active, selected, label } = this.props;
    const known = this.cells.get(position);
    if (known) return known;
    const shown = look(layer, position);
    const made = (
      <div
        key={position}
        role="gridcell"
        class={`lsx-cell${shown ? "" : " lsx-pending"}${shown?.class ? " " + shown.class : ""}`}
        aria-colindex={position + 2}
        aria-selected={selected === position}
        aria-label={shown ? shown.name : `${label(layer, position)}: not yet known`}
        title={shown && !shown.plain ? shown.name : undefined}
        tabIndex={active === position ? 0 : -1}
        data-layer={layer}
        data-position={position}
        data-testid={`cell-${layer}-${position}`}
        style={{
          left: `${size.side + position * size.width}px`,
          width: `${size.width}px`,
          backgroundColor: shown?.background ?? "",
          color: shown?.color ?? "",
        }}
      >
        {shown && (shown.plain ? shown.text : <TokenText text={shown.text} />)}
      </div>
    );
    this.cells.set(position, made);
    return made;
  }

  override render() {
    const { layer, index, from, to, size, head, active, current, side } = this.props;
    const positions: number[] = [];
    if (active !== null && active < from) positions.push(active);
    for (let position = from; position < to; position++) positions.push(position);
    if (active !== null && active >= to) positions.push(active);
    return (
      <div
        role="row"
        class="lsx-row"
        aria-rowindex={index + 2}
        style={{ transform: `translateY(${head + index * size.height}px)`, height: `${size.height}px` }}
      >
        <div
          role="rowheader"
          class={current ? "lsx-side lsx-current" : "lsx-side"}
          aria-colindex={1}
          data-side={layer}
          style={{ width: `${size.side}px` }}
        >
          {side ? side(layer) : layer}
        </div>
        {positions.map((position) => this.cell(position))}
      </div>
    );
  }
}
