import assert from "node:assert/strict";
import { test } from "node:test";
import {
  errorText,
  formatBytes,
  formatEndpoint,
  formatMilliseconds,
  formatOffset,
  formatRate,
  hexDump,
} from "../../src/model/format.js";

test("sizes have three digits and a binary unit", () => {
  const sizes: [number, string][] = [
    [0, "0 B"],
    [999, "999 B"],
    [1024, "1.00 KiB"],
    [50 * 1024 * 1024, "50.0 MiB"],
    [999 * 1024 * 1024, "999 MiB"],
    [3 * 1024 ** 3, "3.00 GiB"],
  ];
  for (const [bytes, text] of sizes) assert.equal(formatBytes(bytes), text);
});

test("rates have a decimal unit", () => {
  assert.equal(formatRate(0), "0 bit/s");
  assert.equal(formatRate(1_234_000), "1.23 Mbit/s");
  assert.equal(formatRate(99_960_000), "100 Mbit/s");
  assert.equal(formatRate(2.5e9), "2.50 Gbit/s");
});

test("times have the unit that fits", () => {
  assert.equal(formatMilliseconds(0.035), "35 µs");
  assert.equal(formatMilliseconds(4.2), "4.20 ms");
  assert.equal(formatMilliseconds(1500), "1.50 s");
  assert.equal(formatOffset(12_003.45), "12.003450");
});

test("an IPv6 address stands in brackets before its port", () => {
  assert.equal(formatEndpoint({ address: "10.0.2.15", port: 80 }), "10.0.2.15:80");
  assert.equal(formatEndpoint({ address: "fd00::2", port: 80 }), "[fd00::2]:80");
});

test("a hex dump shows offset, bytes and printable characters", () => {
  const bytes = Uint8Array.from({ length: 18 }, (_, index) => index + 0x38);
  assert.equal(
    hexDump(bytes),
    "0000  38 39 3a 3b 3c 3d 3e 3f  40 41 42 43 44 45 46 47  89:;<=>?@ABCDEFG\n" +
      "0010  48 49                                             HI",
  );
  assert.equal(hexDump(Uint8Array.of(0, 0x7f, 0x41)).slice(-3), "..A");
});

test("an error tells its cause too, once", () => {
  const error = new TypeError("fetch failed", { cause: new Error("refused") });
  assert.equal(errorText(error), "fetch failed (refused)");
  const complete = new TypeError("fetch failed: refused", { cause: new Error("refused") });
  assert.equal(errorText(complete), "fetch failed: refused");
  assert.equal(errorText("plain"), "plain");
});
