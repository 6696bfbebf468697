/**
 * IP addresses: as texts for people (RFC 5952, RFC 4291 §2.2), and for the engine as four numbers of 32 bits, the highest first, where IPv4 is
 * mapped (RFC 4291 §2.5.5.2).
 */

/** The numbers of an address. */
export type IpNumbers = readonly [number, number, number, number];

/** No address, as the engine takes it. */
export const NO_ADDRESS: IpNumbers = [Number.NaN, Number.NaN, Number.NaN, Number.NaN];

const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;
const GROUP = /^[0-9a-f]{1,4}$/i;
const MAPPED = 0xffff;

/** The number of an IPv4 address. */
function ipv4Of(text: string): number | null {
  if (!IPV4.test(text)) return null;
  return text.split(".").reduce((number, octet) => number * 256 + Number(octet), 0);
}

/** The groups of a part of an IPv6 address, which may end in an IPv4 address if it is the last one. */
function groupsOf(text: string, isLast: boolean): number[] | null {
  if (text === "") return [];
  const groups: number[] = [];
  const parts = text.split(":");
  for (const [place, part] of parts.entries()) {
    const number = isLast && place === parts.length - 1 ? ipv4Of(part) : null;
    if (number !== null) groups.push(number >>> 16, number & 0xffff);
    else if (GROUP.test(part)) groups.push(Number.parseInt(part, 16));
    else return null;
  }
  return groups;
}

/** The last address that was read, since connections are often made to the same one. */
let lastText = "";
let lastNumbers: IpNumbers | null = null;

/** The numbers of an address, or null if the text is none. */
export function parseIp(text: string): IpNumbers | null {
  if (text !== lastText) {
    lastNumbers = parsed(text);
    lastText = text;
  }
  return lastNumbers;
}

function parsed(text: string): IpNumbers | null {
  const number = ipv4Of(text);
  if (number !== null) return [0, 0, MAPPED, number];
  const parts = text.split("::");
  if (parts.length > 2) return null;
  const [first = "", last] = parts;
  const head = groupsOf(first, last === undefined);
  const tail = groupsOf(last ?? "", true);
  if (head === null || tail === null) return null;
  const missing = 8 - head.length - tail.length;
  // "::" stands for one group or more.
  if (last === undefined ? missing !== 0 : missing < 1) return null;
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail];
  const word = (at: number): number => (((groups[at] ?? 0) << 16) | (groups[at + 1] ?? 0)) >>> 0;
  return [word(0), word(2), word(4), word(6)];
}

/**
 * The numbers of an address.
 * @throws {RangeError} if the text is none.
 */
export function ipNumbers(text: string): IpNumbers {
  const numbers = parseIp(text);
  if (numbers === null) {
    throw new RangeError(`${JSON.stringify(text)} is not an IPv4 or IPv6 address`);
  }
  return numbers;
}

/** The numbers of an address, or of none if the text is empty. */
export function optionalIp(text: string): IpNumbers {
  return text === "" ? NO_ADDRESS : ipNumbers(text);
}

/** The text that an address is told as, however it was written; what is none stays. */
export function canonicalIp(text: string): string {
  // IPv4 can be written in one way.
  if (!text.includes(":")) return text;
  const numbers = parseIp(text);
  return numbers === null ? text : ipText(numbers);
}

/**
 * The numbers of an address and the length of its prefix.
 * @throws {RangeError} that says what is wrong with the text.
 */
export function prefixNumbers(text: string): readonly number[] {
  const wrong = (why: string): never => {
    throw new RangeError(`${JSON.stringify(text)}: ${why}`);
  };
  const slash = text.indexOf("/");
  if (slash < 0) wrong("a prefix needs a length, as in 10.0.2.2/24");
  const address = parseIp(text.slice(0, slash));
  if (address === null) {
    return wrong("the part before the / is not an IPv4 or IPv6 address");
  }
  const longest = isIpv4(address) ? 32 : 128;
  const length = text.slice(slash + 1);
  if (!/^\d+$/.test(length) || Number(length) > longest) {
    wrong("the prefix length is 0 to 32 for IPv4 and 0 to 128 for IPv6");
  }
  return [...address, Number(length)];
}

function isIpv4([a, b, c]: IpNumbers): boolean {
  return a === 0 && b === 0 && c === MAPPED;
}

/** The text of an address whose numbers begin at a place. */
export function ipText(numbers: ArrayLike<number>, at = 0): string {
  const [a, b, c, d] = [
    numbers[at] ?? 0,
    numbers[at + 1] ?? 0,
    numbers[at + 2] ?? 0,
    numbers[at + 3] ?? 0,
  ];
  if (a === 0 && b === 0 && c === MAPPED) {
    return `${d >>> 24}.${(d >>> 16) & 255}.${(d >>> 8) & 255}.${d & 255}`;
  }
  const groups = [a, b, c, d].flatMap((word) => [word >>> 16, word & 0xffff]);
  return shortened(groups.map((group) => group.toString(16)).join(":"));
}

/** RFC 5952 §4.2: the longest run of zeros, the first of several, is left out, unless it is a single one. */
function shortened(address: string): string {
  const runs = address.match(/\b0(?::0)+\b/g) ?? [];
  const longest = runs.reduce((best, run) => (run.length > best.length ? run : best), "");
  if (longest === "") return address;
  const at = address.search(new RegExp(`\\b${longest}\\b`));
  const [before, after] = [address.slice(0, at), address.slice(at + longest.length)];
  return `${before.replace(/:$/, "")}::${after.replace(/^:/, "")}`;
}
