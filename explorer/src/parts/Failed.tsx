import type { Failure } from "../protocol";
import type { Entry } from "../store/asker";
import { useApp } from "../store/hooks";

export function FailurePanel({ failure, onRetry }: { failure: Failure; onRetry?: () => void }) {
  return (
    <div class="lsx-failure" role="alert" data-testid="error">
      <p class="lsx-what">{failure.what}</p>
      <dl>
        {failure.got && (
          <>
            <dt>Got</dt>
            <dd>{failure.got}</dd>
          </>
        )}
        {failure.expected && (
          <>
            <dt>Expected</dt>
            <dd>{failure.expected}</dd>
          </>
        )}
        {failure.instead && (
          <>
            <dt>Instead</dt>
            <dd>{failure.instead}</dd>
          </>
        )}
      </dl>
      {onRetry && (
        <button type="button" class="lsx-button" onClick={onRetry}>
          Try again
        </button>
      )}
    </div>
  );
}

/** Why there is no answer, where there is none; and what must be known to read one. */
export function Trouble({ entry, what }: { entry: Pick<Entry, "status" | "failure"> | null; what: string }) {
  const app = useApp();
  if (!entry) return null;
  if (entry.failure) return <FailurePanel failure={entry.failure} onRetry={() => app.retry()} />;
  if (entry.status === "missing") return <p class="lsx-absent">Not in this recording: {what}.</p>;
  if (entry.status === "stopped" || entry.status === "lost")
    return (
      <p class="lsx-absent">
        {entry.status === "stopped" ? "Stopped" : "No answer"}: {what}.{" "}
        <button type="button" class="lsx-button" onClick={() => app.retry()}>
          Ask again
        </button>
      </p>
    );
  return null;
}

export function Notes({ notes }: { notes: string[] | undefined }) {
  if (!notes?.length) return null;
  return (
    <ul class="lsx-notes" aria-label="Notes">
      {notes.map((note) => (
        <li key={note}>{note}</li>
      ))}
    </ul>
  );
}
