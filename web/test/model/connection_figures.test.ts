import assert from "node:assert/strict";
import { after, test } from "node:test";
import { createCableLab, DEFAULT_SETTINGS } from "../../src/model/cable_lab.js";
import { figuresOf } from "../../src/model/connection_figures.js";

const lab = await createCableLab({ ...DEFAULT_SETTINGS, loss: 0 });
after(() => lab.close());

/** All that is shown, as `group: name` with its value. */
function shown(info: Parameters<typeof figuresOf>[0]): Map<string, string> {
  return new Map(
    figuresOf(info).flatMap((group) =>
      group.figures.map(({ name, value }) => [`${group.name}: ${name}`, value] as const),
    ),
  );
}

test("a connection's figures are shown with their units", async () => {
  lab.setCongestionControl("bbr");
  const transfer = lab.send(2_000_000, AbortSignal.timeout(10_000));
  await transfer.socket.opened;
  const begun = transfer.socket.info();
  assert.ok(begun !== null);
  const early = shown(begun);
  assert.equal(early.get("Congestion control: algorithm"), "BBR");
  assert.equal(early.get("Congestion control: ssthresh"), "–");
  assert.equal(early.get("Segments and options: mss"), "1448 B");
  assert.equal(
    early.get("Segments and options: agreed"),
    "timestamps, SACK, window scales 7, 7, no ECN",
  );
  lab.setCongestionControl("reno");
  const changed = transfer.socket.info();
  assert.ok(changed !== null);
  assert.equal(shown(changed).get("Congestion control: algorithm"), "NewReno");
  assert.ok(
    [...shown(changed)].every(
      ([name, value]) => value !== "" && !/NaN|undefined|null/.test(name + value),
    ),
  );
  await transfer.done;
});

test("a connection that was never answered shows what there is", () => {
  const lost = lab.left.connect("10.0.0.9:1");
  lost.opened.catch(() => {});
  lost.closed.catch(() => {});
  const info = lost.info();
  assert.ok(info !== null);
  const figures = shown(info);
  assert.equal(figures.get("Round trip: srtt"), "–");
  assert.equal(figures.get("Congestion control: pacing"), "–");
  assert.equal(figures.get("Timers: none"), "runs");
  lost.abort();
});
