/** Where the focus goes when what had it is gone. */

/** The last of these in the same explorer, up to `at`, once it has been drawn. */
export function focusSoon(from: Element, selector: string, at = 0): void {
  const root = from.closest(".lsx");
  requestAnimationFrame(() => {
    const found = root?.querySelectorAll<HTMLElement>(selector);
    found?.[Math.min(at, found.length - 1)]?.focus();
  });
}
