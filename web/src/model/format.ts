/** Numbers and bytes as text for people. */

/** Bytes with a binary unit, three digits: `812 B`, `1.50 KiB`, `50.0 MiB`. */
export function formatBytes(bytes: number): string {
  const units = ["KiB", "MiB", "GiB"];
  if (bytes < 1000) return `${Math.round(bytes)} B`;
  let value = bytes;
  let unit = "B";
  for (const next of units) {
    if (value < 1000) break;
    value /= 1024;
    unit = next;
  }
  return `${threeDigits(value)} ${unit}`;
}

/** Bits per second with a decimal unit, as links are sold: `950 kbit/s`, `1.20 Mbit/s`. */
export function formatRate(bitsPerSecond: number): string {
  const units = ["kbit/s", "Mbit/s", "Gbit/s"];
  let value = bitsPerSecond;
  let unit = "bit/s";
  for (const next of units) {
    if (value < 1000) break;
    value /= 1000;
    unit = next;
  }
  return unit === "bit/s" ? `${Math.round(value)} bit/s` : `${threeDigits(value)} ${unit}`;
}

/** Milliseconds with a unit that fits: `35 µs`, `4.20 ms`, `1.50 s`. */
export function formatMilliseconds(milliseconds: number): string {
  if (milliseconds < 1) return `${Math.round(milliseconds * 1000)} µs`;
  if (milliseconds < 1000) return `${threeDigits(milliseconds)} ms`;
  return `${threeDigits(milliseconds / 1000)} s`;
}

/** Seconds since the first frame, to the microsecond: `12.003450`. */
export function formatOffset(milliseconds: number): string {
  return (milliseconds / 1000).toFixed(6);
}

/** An address with a port as in a URL: `10.0.2.15:80`, `[fd00::2]:80`. */
export function formatEndpoint({ address, port }: { address: string; port: number }): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

function threeDigits(value: number): string {
  if (value >= 99.95) return value.toFixed(0);
  return value >= 9.995 ? value.toFixed(1) : value.toFixed(2);
}

/** Bytes as lines of sixteen: offset, hexadecimal, printable characters. */
export function hexDump(bytes: Uint8Array): string {
  const lines: string[] = [];
  for (let offset = 0; offset < bytes.length; offset += 16) {
    const row = [...bytes.subarray(offset, offset + 16)];
    const pairs = row.map((byte) => byte.toString(16).padStart(2, "0"));
    const hex = `${pairs.slice(0, 8).join(" ")}  ${pairs.slice(8).join(" ")}`;
    const text = row.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "."));
    lines.push(
      `${offset.toString(16).padStart(4, "0")}  ${hex.padEnd(49)} ${text.join("")}`.trimEnd(),
    );
  }
  return lines.join("\n");
}

/** Bytes as hexadecimal digits. */
export function hex(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What an error says, its cause included. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  // Some messages say why already.
  const told = !(cause instanceof Error) || error.message.includes(cause.message);
  return told ? error.message : `${error.message} (${cause.message})`;
}
