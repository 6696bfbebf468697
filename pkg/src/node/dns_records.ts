/** DNS records as `node:dns` shows them, made of their form in master files (RFC 1035 §5.1). */

import type { AnyRecord, CaaRecord, MxRecord, NaptrRecord, SoaRecord, SrvRecord } from "node:dns";
import type { DnsRecord } from "../types.js";

/** A type that can be asked for. */
export interface RecordKind {
  /** The type as the stack's resolver takes it. */
  type: string;
  /** What the system call is named in errors. */
  syscall: string;
  /** A record as the method for this type gives it. */
  read(record: DnsRecord): unknown;
}

const words = (data: string) => data.split(" ");

/** The octets of a type that has no form of its own, `\# 4 0a000001` (RFC 3597 §5). */
function octetsOf(data: string): Buffer {
  const [, , ...digits] = words(data);
  return Buffer.from(digits.join(""), "hex");
}

function mx({ data }: DnsRecord): MxRecord {
  const [priority, exchange = ""] = words(data);
  return { exchange, priority: Number(priority) };
}

function srv({ data }: DnsRecord): SrvRecord {
  const [priority, weight, port, name = ""] = words(data);
  return { name, port: Number(port), priority: Number(priority), weight: Number(weight) };
}

function soa({ data }: DnsRecord): SoaRecord {
  const [nsname = "", hostmaster = "", ...numbers] = words(data);
  const [serial = 0, refresh = 0, retry = 0, expire = 0, minttl = 0] = numbers.map(Number);
  return { nsname, hostmaster, serial, refresh, retry, expire, minttl };
}

/** RFC 8659 §4.1: flags, the length of the tag, the tag, the value. */
function caa({ data }: DnsRecord): CaaRecord {
  const octets = octetsOf(data);
  const end = 2 + (octets[1] ?? 0);
  const tag = octets.toString("latin1", 2, end);
  return { critical: octets[0] ?? 0, [tag]: octets.toString("latin1", end) };
}

/** RFC 3403 §4.1: order, preference, three character strings, a name that is not compressed. */
function naptr({ data }: DnsRecord): NaptrRecord {
  const octets = octetsOf(data);
  let at = 4;
  const text = () => {
    const end = at + 1 + (octets[at] ?? 0);
    const found = octets.toString("latin1", at + 1, end);
    at = end;
    return found;
  };
  const [flags, service, regexp] = [text(), text(), text()];
  const labels: string[] = [];
  while ((octets[at] ?? 0) > 0) labels.push(text());
  return {
    ...{ flags, service, regexp },
    replacement: labels.join("."),
    order: octets.readUInt16BE(0),
    preference: octets.readUInt16BE(2),
  };
}

/** RFC 6698 §2.1. */
function tlsa({ data }: DnsRecord): unknown {
  const octets = octetsOf(data);
  const [certUsage = 0, selector = 0, match = 0] = octets;
  return { certUsage, selector, match, data: Uint8Array.from(octets.subarray(3)).buffer };
}

const value = ({ data }: DnsRecord) => data;

/** By the names that `resolve` takes. */
export const KINDS: Readonly<Record<string, RecordKind>> = {
  A: { type: "A", syscall: "queryA", read: value },
  AAAA: { type: "AAAA", syscall: "queryAaaa", read: value },
  ANY: { type: "ANY", syscall: "queryAny", read: anyRecord },
  CAA: { type: "TYPE257", syscall: "queryCaa", read: caa },
  CNAME: { type: "CNAME", syscall: "queryCname", read: value },
  MX: { type: "MX", syscall: "queryMx", read: mx },
  NAPTR: { type: "TYPE35", syscall: "queryNaptr", read: naptr },
  NS: { type: "NS", syscall: "queryNs", read: value },
  PTR: { type: "PTR", syscall: "queryPtr", read: value },
  SOA: { type: "SOA", syscall: "querySoa", read: soa },
  SRV: { type: "SRV", syscall: "querySrv", read: srv },
  TLSA: { type: "TYPE52", syscall: "queryTlsa", read: tlsa },
  TXT: { type: "TXT", syscall: "queryTxt", read: ({ data }) => [data] },
};

/** Types whose record is one value, by the field that `resolveAny` puts it in. */
const FIELDS: Readonly<Record<string, string>> = {
  CNAME: "value",
  NS: "value",
  PTR: "value",
  TXT: "entries",
};

/** A record of any type, with its type; null for those that Node does not know. */
function anyRecord(record: DnsRecord): AnyRecord | null {
  const named = Object.entries(KINDS).find(([, { type }]) => type === record.type);
  if (named === undefined) return null;
  const [type, kind] = named;
  const read = kind.read(record);
  if (type === "A" || type === "AAAA") return { type, address: record.data, ttl: record.ttl };
  const field = FIELDS[type];
  const fields = field === undefined ? (read as object) : { [field]: read };
  return { ...fields, type } as AnyRecord;
}
