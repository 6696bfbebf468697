/** Looking at something regularly, only while somebody can see it. */

import { type Readable, readable } from "svelte/store";

/** The part of a document that polling needs. */
export interface Visibility {
  readonly hidden: boolean;
  addEventListener(type: "visibilitychange", listener: () => void): void;
  removeEventListener(type: "visibilitychange", listener: () => void): void;
}

/**
 * A store with the result of `look`, renewed every `interval` milliseconds while it has a subscriber and the page is
 * visible.
 */
export function polled<T>(
  look: () => T,
  interval: number,
  page: Visibility = document,
): Readable<T> {
  return readable(look(), (set) => {
    let timer: ReturnType<typeof setInterval> | undefined;
    const update = () => {
      clearInterval(timer);
      if (page.hidden) return;
      set(look());
      timer = setInterval(() => set(look()), interval);
    };
    update();
    page.addEventListener("visibilitychange", update);
    return () => {
      clearInterval(timer);
      page.removeEventListener("visibilitychange", update);
    };
  });
}
