/** The heads and MLPs that carry an effect, on the grid of tokens and layers. */

import { useState } from "preact/hooks";
import { percent, plural, signed } from "../numbers";
import type { CircuitAnswer } from "../protocol";
import { useApp } from "../store/hooks";
import { CircuitDrawing } from "./CircuitDrawing";
import { TokenText } from "./TokenText";

const SHOWN = 200;

export function Circuit({ answer, waiting }: { answer: Partial<CircuitAnswer>; waiting: boolean }) {
  const { presenter } = useApp().state.value;
  const [over, setOver] = useState<string | null>(null);
  const tokens = answer.clean ?? [];
  const layers = [...(answer.layers ?? [])].sort((a, b) => b - a);
  const nodes = [...(answer.nodes ?? [])].sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect));
  if (!tokens.length || !layers.length) return null;
  return (
    <div class="lsx-circuit" data-testid="circuit">
      <p class="lsx-sentence" role="status">
        {answer.faithfulness !== undefined && nodes.length ? (
          <>
            These {plural(nodes.length, "node")} alone bring back <strong>{percent(answer.faithfulness)}</strong> of the
            difference.
          </>
        ) : nodes.length ? (
          `${plural(nodes.length, "node")}${waiting ? "; how far they do it alone is being run…" : "."}`
        ) : waiting ? (
          "Looking for nodes…"
        ) : (
          "No node is above the threshold."
        )}
      </p>
      <div class="lsx-circuit-parts">
        <CircuitDrawing tokens={tokens} layers={layers} nodes={nodes} over={over} onOver={setOver} big={presenter} />
        <div class="lsx-scroll lsx-nodes" tabIndex={0} role="region" aria-label="Nodes">
          <table>
            <thead>
              <tr>
                <th scope="col">Node</th>
                <th scope="col">Token</th>
                <th scope="col">Effect</th>
              </tr>
            </thead>
            <tbody>
              {nodes.slice(0, SHOWN).map((node) => (
                <tr
                  key={node.site}
                  class={over === node.site ? "lsx-over" : undefined}
                  title={node.site}
                  onMouseEnter={() => setOver(node.site)}
                  onMouseLeave={() => setOver(null)}
                >
                  <th scope="row">{node.name}</th>
                  <td>
                    {node.position} <TokenText text={tokens[node.position]?.text ?? ""} />
                  </td>
                  <td class="lsx-number">{signed(node.effect, 3, true)}</td>
                </tr>
              ))}
            </tbody>
          </table>
          {nodes.length > SHOWN && <p class="lsx-muted">and {nodes.length - SHOWN} more</p>}
        </div>
      </div>
    </div>
  );
}
