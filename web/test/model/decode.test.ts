import assert from "node:assert/strict";
import { test } from "node:test";
import { decode } from "../../src/model/decode.js";

const bytes = (text: string) =>
  Uint8Array.from(text.replaceAll(/\s/g, "").match(/../g) ?? [], (pair) =>
    Number.parseInt(pair, 16),
  );

/** A SYN with MSS, padded to the least Ethernet length. */
const SYN = bytes(`
  02 00 00 00 00 02 02 00 00 00 00 01 08 00
  45 00 00 2c 12 34 40 00 40 06 10 64 0a 00 02 0f 0a 00 02 02
  c0 00 00 50 00 00 00 01 00 00 00 00 60 02 fa f0 ab cd 00 00 02 04 05 b4
  00 00`);

const field = (frame: Uint8Array, layer: string, name: string) =>
  decode(frame)
    .find((found) => found.name === layer)
    ?.fields.find(([found]) => found === name)?.[1];

test("a TCP segment is decoded through all its headers", () => {
  assert.deepEqual(
    decode(SYN).map(({ name }) => name),
    ["Ethernet", "IPv4", "TCP"],
  );
  assert.equal(field(SYN, "Ethernet", "source"), "02:00:00:00:00:01");
  assert.equal(field(SYN, "IPv4", "destination"), "10.0.2.2");
  assert.equal(field(SYN, "TCP", "destination port"), "80");
  assert.equal(field(SYN, "TCP", "flags"), "SYN");
  assert.equal(field(SYN, "TCP", "options"), "4 bytes");
});

test("padding of a short frame is no data", () => {
  assert.equal(field(SYN, "TCP", "data"), "0 bytes");
});

test("an ARP request tells who asks for whom", () => {
  const request = bytes(`
    ff ff ff ff ff ff 02 00 00 00 00 01 08 06
    00 01 08 00 06 04 00 01 02 00 00 00 00 01 0a 00 02 0f 00 00 00 00 00 00 0a 00 02 02`);
  assert.equal(field(request, "ARP", "operation"), "request");
  assert.equal(field(request, "ARP", "target"), "10.0.2.2 at 00:00:00:00:00:00");
});

test("IPv6 addresses are written as RFC 5952 wants them", () => {
  const echo = bytes(`
    02 00 00 00 00 02 02 00 00 00 00 01 86 dd
    60 00 00 00 00 08 3a ff
    fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01
    fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 02
    80 00 12 34 00 01 00 01`);
  assert.equal(field(echo, "IPv6", "source"), "fd00::1");
  assert.equal(field(echo, "ICMPv6", "type"), "128");
});

test("a later fragment has no TCP header to show", () => {
  const fragment = SYN.slice();
  fragment[20] = 0x00;
  fragment[21] = 0xb9;
  assert.deepEqual(
    decode(fragment).map(({ name }) => name),
    ["Ethernet", "IPv4"],
  );
});

test("frames cut off anywhere, and bytes of any value, are decoded as far as they go", () => {
  for (let length = 0; length <= SYN.length; length += 1) {
    assert.ok(decode(SYN.subarray(0, length)).length <= 3);
  }
  const hostile = SYN.slice();
  for (let at = 12; at < hostile.length; at += 1) {
    for (const value of [0x00, 0x7f, 0xff]) {
      const changed = hostile.slice();
      changed[at] = value;
      assert.ok(Array.isArray(decode(changed)));
    }
  }
});
