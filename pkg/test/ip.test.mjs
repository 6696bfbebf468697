// IP addresses as texts and as the engine's numbers, judged by Node's own functions and by the URL Standard's parser.

import assert from "node:assert/strict";
import { isIPv4, isIPv6 } from "node:net";
import { test } from "node:test";
import { createEngine, createStack, plug } from "ethertab";
import { ipNumbers, ipText, NO_ADDRESS, optionalIp, parseIp, prefixNumbers } from "../dist/ip.js";

const V4 = ["0.0.0.0", "10.0.2.15", "255.255.255.255", "1.2.3.4", "192.0.2.255"];
const V6 = [
  "::",
  "::1",
  "fe80::1",
  "2001:db8::1:0:0:1",
  "2001:DB8:0:1:1:1:1:1",
  "2001:0db8:0000:0000:0001:0000:0000:0001",
  "1:2:3:4:5:6:7:8",
  "1::8",
  "::2:3:4:5:6:7:8",
  "1:2:3:4:5:6:7::",
  "10:0:0:100:a0::ff",
  "fd00:0:0:1::",
  "64:ff9b::192.0.2.33",
  "1:2:3:4:5:6:1.2.3.4",
  "1::1.2.3.4",
  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];
const NEITHER = [
  "",
  " ::1",
  ":",
  ":::",
  "1::2::3",
  "1:2:3:4:5:6:7",
  "1:2:3:4:5:6:7:8:9",
  "1:2:3:4:5:6:7::8:9",
  "::1:2:3:4:5:6:7:8",
  ":1:2:3:4:5:6:7:8",
  "1:2:3:4:5:6:7:8:",
  "12345::",
  "g::",
  "1.2.3.4::",
  "::1.2.3.4:5",
  "::1.2.3",
  "::1.2.3.256",
  "1.2.3",
  "1.2.3.4.5",
  "1.2.3.4.",
  ".1.2.3.4",
  "1..2.3",
  "01.2.3.4",
  "1.2.3.256",
  "-1.2.3.4",
  "1.2.3.4 ",
  "::1\n",
  "1.2.3.4\n",
  "[::1]",
  "::1/64",
];

/** An address as the URL Standard writes it, which is as RFC 5952 has it. */
const canonical = (text) => new URL(`http://[${text}]`).hostname.slice(1, -1);

test("what is an address is what Node says", () => {
  for (const text of [...V4, ...V6, ...NEITHER]) {
    assert.equal(parseIp(text) !== null, isIPv4(text) || isIPv6(text), JSON.stringify(text));
  }
});

test("addresses go there and back as RFC 5952 has them", () => {
  for (const text of V4) assert.equal(ipText(ipNumbers(text)), text);
  for (const text of V6) assert.equal(ipText(ipNumbers(text)), canonical(text), text);
  assert.deepEqual(ipNumbers("10.0.2.15"), [0, 0, 0xffff, 0x0a00_020f]);
  assert.deepEqual(ipNumbers("fd00::1"), [0xfd00_0000, 0, 0, 1]);
  assert.equal(ipText(ipNumbers("::ffff:10.0.2.15")), "10.0.2.15", "mapped is the same address");
  assert.equal(ipText([9, 9, ...ipNumbers("fe80::1")], 2), "fe80::1");
});

test("every pattern of zeros is shortened as the URL Standard does it", () => {
  for (let pattern = 0; pattern < 256; pattern += 1) {
    for (const digit of ["1", "10", "100", "a0"]) {
      const groups = Array.from({ length: 8 }, (_, bit) => ((pattern >> bit) & 1 ? digit : "0"));
      const text = groups.join(":");
      assert.equal(ipText(ipNumbers(text)), canonical(text), text);
      assert.deepEqual(ipNumbers(canonical(text)), ipNumbers(text), text);
    }
  }
});

test("no address is no number", () => {
  assert.deepEqual(optionalIp(""), NO_ADDRESS);
  assert.deepEqual(optionalIp("::"), [0, 0, 0, 0]);
});

test("what is wrong with a text is said", () => {
  const wrong = (text) => ({ name: "RangeError", message: text });
  assert.throws(() => ipNumbers("10.0.0"), wrong('"10.0.0" is not an IPv4 or IPv6 address'));
  assert.deepEqual(prefixNumbers("10.0.2.2/24"), [0, 0, 0xffff, 0x0a00_0202, 24]);
  assert.deepEqual(prefixNumbers("::/0"), [0, 0, 0, 0, 0]);
  for (const [text, message] of [
    ["10.0.2.2", /needs a length, as in/],
    ["10.0.2/24", /part before the \/ is not/],
    ["10.0.2.2/33", /0 to 32 for IPv4/],
    ["::/129", /0 to 128 for IPv6/],
    ["::/", /0 to 128 for IPv6/],
    ["::/-1", /0 to 128 for IPv6/],
    ["::/1/2", /0 to 128 for IPv6/],
  ]) {
    assert.throws(() => prefixNumbers(text), { name: "RangeError", message }, text);
  }
});

test("sockets tell an address in one way, however it was written", async () => {
  const engine = await createEngine();
  const [a, b] = [await createStack({ engine, seed: 1 }), await createStack({ engine, seed: 2 })];
  plug(
    a.addInterface({ addresses: ["10.0.0.1/24", "fd00::1/64"] }),
    b.addInterface({ addresses: ["10.0.0.2/24", "fd00::2/64"] }),
  );
  await b.listen({ port: 80 }).listening;
  for (const [hostname, told] of [
    ["FD00:0::2", "[fd00::2]"],
    ["[fd00:0:0:0::0.0.0.2]", "[fd00::2]"],
    ["::FFFF:10.0.0.2", "10.0.0.2"],
  ]) {
    const socket = a.connect({ hostname, port: 80 });
    assert.equal((await socket.opened).remoteAddress, `${told}:80`);
    const refused = a.connect({ hostname, port: 81 }).opened;
    await assert.rejects(refused, { code: "ECONNREFUSED", remoteAddress: `${told}:81` });
  }
  engine.close();
});
