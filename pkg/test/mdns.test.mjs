// Multicast DNS and service discovery between stacks on one link.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createEngine, createStack, createSwitch, SocketError } from "ethertab";
import { ManualClock, settle } from "./support.mjs";

const hasCode = (code) => (error) => error instanceof SocketError && error.code === code;

/** Stacks with these host names on a switch, with addresses of both families, and multicast DNS on each. */
async function link(...hostnames) {
  const clock = new ManualClock();
  const engine = await createEngine({ clock });
  const lan = await createSwitch({ engine });
  const stacks = [];
  for (const [index, hostname] of hostnames.entries()) {
    const stack = await createStack({ hostname, engine, seed: index + 1 });
    const nic = stack.addInterface({
      addresses: [`10.0.0.${index + 1}/24`, `fd00::${index + 1}/64`],
    });
    lan.plug(nic);
    stacks.push({ stack, nic, mdns: await stack.mdns(nic) });
  }
  return { clock, engine, stacks };
}

/** What a promise settles with while time goes on. */
async function during(clock, promise, seconds = 20) {
  let isSettled = false;
  const done = () => {
    isSettled = true;
  };
  promise.then(done, done);
  for (let step = 0; step < seconds * 10 && !isSettled; step += 1) {
    await clock.advance(100);
    await settle();
  }
  assert.ok(isSettled, "it settles");
  return promise;
}

test("names and services are found without a server, and are told to be gone", async () => {
  const { clock, engine, stacks } = await link("page", "printer");
  const [page, printer] = stacks;
  assert.equal(page.mdns.hostname, "page.local");
  // Until then IPv6 addresses are not certain to be one's own (RFC 4862 §5.4).
  await clock.advance(3_000);
  const addresses = await during(clock, page.mdns.lookup("printer.local"));
  assert.deepEqual(addresses.filter((address) => !address.startsWith("fe80")).sort(), [
    "10.0.0.2",
    "fd00::2",
  ]);

  const name = { name: "Tom's files. All", type: "_http._tcp" };
  const text = { path: "/", secure: true, empty: "" };
  const subtypes = ["_files"];
  const options = { ...name, subtypes, port: 8080, text };
  const service = await during(clock, printer.mdns.publish(options));
  assert.deepEqual([service.name, service.type], [name.name, name.type]);
  const found = [];
  const browsing = page.mdns.browse("_http._tcp");
  const reading = (async () => {
    for await (const change of browsing) found.push(change);
  })();
  await clock.advance(3_000);
  await settle();
  assert.deepEqual(found.splice(0), [{ kind: "found", service: name }]);
  const some = page.mdns.browse("_files._sub._http._tcp");
  assert.deepEqual((await during(clock, some.next())).value.service, name);
  const none = page.mdns.browse("_others._sub._http._tcp").next();
  const details = await during(clock, page.mdns.resolve(name));
  assert.deepEqual(
    { ...details, addresses: [] },
    { ...name, hostname: "printer.local", port: 8080, text, addresses: [] },
  );
  assert.ok(details.addresses.includes("10.0.0.2") && details.addresses.includes("fd00::2"));

  service.setText({ path: "/new" });
  await clock.advance(3_000);
  const changed = await during(clock, page.mdns.resolve(name));
  assert.deepEqual(changed.text, { path: "/new" });

  service.close();
  assert.equal(service.name, "");
  assert.throws(() => service.setText({}), TypeError);
  await clock.advance(3_000);
  await settle();
  assert.deepEqual(found.splice(0), [{ kind: "gone", service: name }]);
  await browsing.return();
  await reading;
  assert.deepEqual(await during(clock, some.next()), {
    value: { kind: "gone", service: name },
    done: false,
  });

  // An interface that closes says good-bye.
  await during(clock, printer.mdns.publish({ ...name, port: 9 }));
  const again = page.mdns.browse("_http._tcp");
  assert.equal((await during(clock, again.next())).value.kind, "found");
  const gone = again.next();
  printer.nic.close();
  assert.equal((await during(clock, gone)).value.kind, "gone");
  const unsettled = assert.rejects(none, hasCode("ABORT_ERR"), "there never were such");
  page.mdns.close();
  await unsettled;
  engine.close();
});

test("a name that another host has gets a number", async () => {
  const { clock, engine, stacks } = await link("host", "host");
  await clock.advance(5_000);
  const names = stacks.map(({ mdns }) => mdns.hostname).sort();
  assert.equal(new Set(names).size, 2, names.join(" "));
  assert.ok(names.includes("host.local"), names.join(" "));
  const service = { name: "Files", type: "_smb._tcp", port: 445 };
  const first = await during(clock, stacks[0].mdns.publish(service));
  const second = await during(clock, stacks[1].mdns.publish(service));
  assert.equal(first.name, "Files");
  assert.match(second.name, /^Files .*2/);
  const browsing = stacks[0].mdns.browse("_smb._tcp", {});
  const seen = [await during(clock, browsing.next())].map(({ value }) => value.service.name);
  assert.deepEqual(seen, [second.name], "what others have");
  engine.close();
});

test("what cannot be is refused, and what waits is settled", async () => {
  const { clock, engine, stacks } = await link("page");
  const [{ stack, nic, mdns }] = stacks;
  await assert.rejects(stack.mdns(nic), /speaks multicast DNS already/);
  await assert.rejects(mdns.publish({ name: "a", type: "http", port: 80 }), RangeError);
  await assert.rejects(mdns.publish({ name: "", type: "_http._tcp", port: 80 }), RangeError);
  const long = { name: "x".repeat(64), type: "_http._tcp", port: 80 };
  await assert.rejects(mdns.publish(long), RangeError);
  const many = { ...long, name: "a", subtypes: ["a", "b", "c", "d", "e"] };
  await assert.rejects(mdns.publish(many), RangeError);
  await assert.rejects(mdns.publish({ ...long, name: "a", text: { "a=b": "c" } }), RangeError);
  assert.throws(() => mdns.browse("_http"), RangeError);
  await assert.rejects(mdns.resolve({ name: "", type: "_http._tcp" }), RangeError);
  const nobody = mdns.lookup("nobody.local", { timeout: "3s" });
  await assert.rejects(during(clock, nobody), hasCode("ENOTFOUND"));

  const controller = new AbortController();
  const waiting = mdns.lookup("nobody.local", { signal: controller.signal });
  const next = mdns.browse("_http._tcp", { signal: controller.signal }).next();
  controller.abort();
  await assert.rejects(waiting, hasCode("ABORT_ERR"));
  await assert.rejects(next, hasCode("ABORT_ERR"));

  const lookup = mdns.lookup("nobody.local");
  const browsing = mdns.browse("_http._tcp").next();
  const publishing = mdns.publish({ name: "a", type: "_http._tcp", port: 80 });
  const outcomes = [lookup, browsing, publishing].map((promise) =>
    assert.rejects(promise, hasCode("ABORT_ERR")),
  );
  mdns.close();
  await Promise.all(outcomes);
  assert.throws(() => mdns.hostname, hasCode("ABORT_ERR"));
  await assert.rejects(mdns.lookup("nobody.local"), hasCode("ABORT_ERR"));
  // The interface may begin anew, but not beside a socket that does not share the port.
  const other = stack.bindUdp({ port: 5353 });
  await assert.rejects(stack.mdns(nic), hasCode("EADDRINUSE"));
  await other.close();
  const anew = await stack.mdns(nic, { hostname: "other" });
  assert.equal(anew.hostname, "other.local");
  const wait = assert.rejects(anew.lookup("nobody.local"), hasCode("ABORT_ERR"));
  stack.close();
  await wait;
  await assert.rejects(stack.mdns(nic), TypeError);
  engine.close();
});
