import { pieces } from "../text";

/** A token, kept apart from its neighbours' direction. */
export function TokenText({ text }: { text: string }) {
  const shown = pieces(text);
  const blank = shown.every((piece) => piece.sign);
  return (
    <bdi class="lsx-token" dir="auto">
      {shown.map((piece, index) =>
        piece.sign ? (
          <span
            key={index}
            class={piece.text.startsWith("U+") ? "lsx-point-code" : blank ? undefined : "lsx-sign"}
            aria-hidden="true"
          >
            {piece.text}
          </span>
        ) : (
          piece.text
        ),
      )}
    </bdi>
  );
}
