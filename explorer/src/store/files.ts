/** What leaves the page: links, code, files. */

import type { App } from "./app";
import { encode } from "./permalink";

const LARGEST = 50 * 1024 * 1024;

function download(name: string, type: string, text: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function fileName(app: App, extension: string): string {
  const model = app.about.peek().model.name.split("/").pop() ?? "model";
  return `lensscope-${model.replace(/[^\w.-]+/g, "-")}.${extension}`;
}

export async function copyText(app: App, text: string, what: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    app.tell(`${what} copied.`);
    return true;
  } catch {
    app.tell(`The browser did not let the ${what.toLowerCase()} be copied.`, "bad");
    return false;
  }
}

export function link(app: App): string {
  const url = new URL(location.href);
  url.hash = encode(app.state.peek());
  return url.href;
}

export async function copyLink(app: App): Promise<void> {
  const address = link(app);
  history.replaceState(null, "", address);
  await copyText(app, address, "Link");
}

export function copyPython(app: App): void {
  const code = app.python();
  if (!code) {
    app.tell("Nothing has been answered yet: there is no code to copy.");
    return;
  }
  app.dialog.value = "python";
  void copyText(app, code, "Python");
}

export function save(app: App): void {
  const recorded = app.recorded();
  download(fileName(app, "json"), "application/json", JSON.stringify(recorded));
  app.tell(`Saved: ${recorded.answers.length} answers.`);
}

export async function open(app: App, file: File): Promise<void> {
  if (file.size > LARGEST) {
    app.tell("This file is larger than 50 MB: it was not opened.", "bad");
    return;
  }
  try {
    app.open(await file.text());
  } catch (error) {
    const why = error instanceof SyntaxError ? "it is no JSON" : error instanceof Error ? error.message : String(error);
    app.tell(`“${file.name}” is not a recording of lensscope: ${why}.`, "bad");
  }
}

export async function exportPage(app: App): Promise<void> {
  const { exportPage: make } = app.transport.peek();
  if (!make) return;
  try {
    download(fileName(app, "html"), "text/html", await make(app.recorded()));
    app.tell("Exported: a page that works without the model.");
  } catch (error) {
    app.tell(
      error instanceof Error && error.message
        ? `Not exported: ${error.message}`
        : "The server does not answer: nothing was exported.",
      "bad",
    );
  }
}
