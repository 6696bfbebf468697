import assert from "node:assert/strict";
import { test } from "node:test";
import { polled } from "../../src/model/poll.js";

class FakePage {
  hidden = false;
  readonly listeners = new Set<() => void>();
  addEventListener(_: string, listener: () => void): void {
    this.listeners.add(listener);
  }
  removeEventListener(_: string, listener: () => void): void {
    this.listeners.delete(listener);
  }
  show(visible: boolean): void {
    this.hidden = !visible;
    for (const listener of this.listeners) listener();
  }
}

test("polling looks at each interval, not while the page is hidden, not without a subscriber", (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const page = new FakePage();
  let looks = 0;
  const store = polled(() => ++looks, 250, page);
  const values: number[] = [];
  const unsubscribe = store.subscribe((value) => values.push(value));
  const before = looks;
  t.mock.timers.tick(1000);
  assert.equal(looks, before + 4);
  assert.equal(values.at(-1), looks);

  page.show(false);
  t.mock.timers.tick(1000);
  assert.equal(looks, before + 4);
  page.show(true);
  assert.equal(looks, before + 5, "looks at once when the page is seen again");

  unsubscribe();
  t.mock.timers.tick(1000);
  assert.equal(looks, before + 5);
  assert.equal(page.listeners.size, 0);
});
