/**
 * All that is outside a gateway's network, as its guests see it: takes their flows to addresses that are nobody's, finds out which name is meant, and
 * gives each to the egress that the rules say, within limits.
 */

import * as check from "../../arguments.js";
import { inBackground } from "../../background.js";
import { holdProgram } from "../../clock.js";
import { SocketError } from "../../errors.js";
import { parseIp } from "../../ip.js";
import type { AnyAddress, Clock, Flow, Nic, Stack, UdpFlow } from "../../types.js";
import type { HeadParser } from "../http/head.js";
import type { Securing } from "../https.js";
import type { DnsAnswer } from "../options.js";
import { guestKey, ratesOf } from "./bandwidth.js";
import { type FlowPlace, type GuestFlow, TcpGuestFlow, UdpGuestFlow } from "./flow.js";
import { type Guest, Guests } from "./guests.js";
import { type Meaning, NameTable } from "./names.js";
import type { EgressSettings } from "./options.js";
import { isForwardable, type PrefixSet } from "./prefixes.js";
import type { Bandwidth, Egress, FlowChange, FlowRecord } from "./types.js";

/** How long a flow may wait for a decision, in milliseconds. */
const PATIENCE = 30_000;
/** Flows of one guest that may wait for one. */
const PER_SOURCE = 128;
/** How often idle UDP flows are looked for, at most, in milliseconds. */
const SWEEP = 5_000;
/** A question and its answer are all there is of a DNS flow. */
const DNS_PORT = 53;
const DNS_TIMEOUT = 10_000;
/** How long an address that stands for a name may be kept, in seconds. */
const STAND_IN_TTL = 10;
/** Names that are nobody's in the Internet (RFC 6761, RFC 6762, RFC 7686, RFC 8375). */
const NOT_OUTSIDE = /(^|\.)(localhost|local|invalid|onion|home\.arpa)$/;
const REVERSE4 = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\.in-addr\.arpa$/;

/** What the gateway itself does with a flow, if anything: a service, or a question to its own servers. */
export type OwnFlow = (flow: TcpGuestFlow | UdpGuestFlow) => void | Promise<void>;

/** What the gateway does for the outside. */
export interface OutsideHooks {
  /** Something has happened to a flow. */
  changed(change: FlowChange): void;
  failed(error: unknown): void;
  /** What stands for the guest that has an address, where that is known without asking the neighbours. */
  cardOf(address: string): string | null;
  /**
   * What the gateway itself does with a flow to this address, whose meaning is null where it leads nowhere; null if nothing. Egresses that carry no datagrams
   * leave guests' questions to name and time servers outside to the gateway.
   */
  own(
    protocol: "tcp" | "udp",
    address: string,
    port: number,
    meaning: Meaning | null,
    carriesDatagrams: boolean,
  ): { name: string; take: OwnFlow } | null;
}

/** An answer to a question about a name, and for how many seconds it may be kept. */
export interface NameAnswer {
  answer: DnsAnswer;
  /** Null for the usual time. */
  ttl: number | null;
}

/** See the module's comment. */
export class Outside {
  readonly names: NameTable;
  readonly #clock: Clock;
  readonly #parser: HeadParser;
  readonly #secured: Securing | null;
  readonly #settings: EgressSettings;
  readonly #hooks: OutsideHooks;
  /** The networks of the gateway itself, whose hosts nobody else is. */
  readonly #inside: PrefixSet;
  readonly #guests: Guests;
  readonly #flows = new Set<GuestFlow>();
  readonly #taker: AnyAddress | null;
  #udpFlows = 0;
  #sweep: unknown = null;
  #closed = false;
  readonly #counters = {
    opened: 0,
    refused: 0,
    closed: 0,
    failed: 0,
    overLimit: 0,
    udpEvicted: 0,
    bytesUp: 0,
    bytesDown: 0,
    datagramsDropped: 0,
  };

  constructor(
    stack: Stack,
    nic: Nic,
    clock: Clock,
    parser: HeadParser,
    secured: Securing | null,
    settings: EgressSettings,
    inside: PrefixSet,
    hooks: OutsideHooks,
  ) {
    this.#clock = clock;
    this.#parser = parser;
    this.#secured = secured;
    this.#settings = settings;
    this.#hooks = hooks;
    this.#inside = inside;
    this.names = new NameTable(clock);
    this.#guests = new Guests(stack, hooks.cardOf, clock, settings.bandwidth);
    this.#taker =
      settings.rules === null
        ? null
        : inBackground(
            stack.acceptAny(nic, {
              onflow: (flow) => this.#takeTcp(flow),
              onudpflow: (flow) => this.#takeUdp(flow),
              perSource: PER_SOURCE,
              timeout: PATIENCE,
              tcp: { noDelay: true },
            }),
          );
  }

  /** Whether flows are taken. */
  get takesFlows(): boolean {
    return this.#taker !== null;
  }

  /** Open flows, and those that wait for a decision. */
  flows(): FlowRecord[] {
    return [...this.#flows].map((flow) => flow.record());
  }

  counters(): Record<string, number> {
    let { bytesUp, bytesDown } = this.#counters;
    for (const flow of this.#flows) {
      const record = flow.record();
      bytesUp += record.bytesUp;
      bytesDown += record.bytesDown;
    }
    return {
      ...this.#counters,
      bytesUp,
      bytesDown,
      open: this.#flows.size,
      names: this.names.size,
    };
  }

  /** The figures of the egresses that have some, by their names. */
  egressCounters(): Record<string, Record<string, number>> {
    const all: Record<string, Record<string, number>> = {};
    for (const egress of this.#settings.rules?.egresses ?? []) {
      const counted = egress.counters?.();
      if (counted !== undefined) all[nameOf(egress)] = counted;
    }
    return all;
  }

  /**
   * Changes what a guest may use, by its MAC or IP address, or with null what each may that is not named; null takes that back.
   * @throws {TypeError | RangeError} that names what is wrong.
   */
  setBandwidth(guest: string | null, bandwidth: Bandwidth | null): void {
    const key = guest === null ? null : guestKey("guest", guest);
    const rates = bandwidth === null ? null : ratesOf("bandwidth", bandwidth);
    this.#settings.bandwidth.set(key, rates);
    this.#guests.limitAgain();
  }

  /**
   * Answers a guest's question about a name that is not the gateway's; null if there is no such name.
   * @throws what an egress fails with; {@link SocketError} (ENOBUFS) if no address is left to stand for the name.
   */
  async resolve(asked: string, type: string, guest: string): Promise<NameAnswer | null> {
    const { rules } = this.#settings;
    const name = asked.toLowerCase().replace(/\.$/, "");
    if (rules === null || !name.includes(".") || NOT_OUTSIDE.test(name)) return null;
    const [, ...octets] = REVERSE4.exec(name) ?? [];
    if (octets.length > 0) {
      const pointed = this.names.nameOf(octets.reverse().join("."));
      if (pointed !== null) return { answer: type === "PTR" ? [pointed] : [], ttl: STAND_IN_TTL };
    }
    const askable = rules.resolversOf(name);
    if (askable === null) return this.#standIn(name, type, guest);
    for (const egress of askable) {
      const answer = (await egress.resolve?.(name, type)) ?? null;
      if (answer === null) continue;
      if (type !== "A" && type !== "AAAA") return { answer, ttl: null };
      return (await this.#reached(egress, name, type, answer, guest)) ?? { answer: [], ttl: null };
    }
    return null;
  }

  /**
   * The addresses of a name that a guest can send to. Where there are others only, such as loopback addresses, which never leave the guest, one stands for the
   * name. Null for no addresses.
   */
  async #reached(
    egress: Egress,
    name: string,
    type: "A" | "AAAA",
    answer: DnsAnswer,
    guest: string,
  ): Promise<NameAnswer | null> {
    const reached = answer.filter((address) => this.#canBeSentTo(address));
    if (reached.length > 0) {
      this.names.learn(this.#guests.keyOf(guest), name, reached);
      return { answer: reached, ttl: null };
    }
    if (type === "AAAA") return null;
    const hasOthers = answer.length > 0 || (await this.#hasOthers(egress, name));
    return hasOthers ? this.#standIn(name, type, guest) : null;
  }

  /** Whether a name has addresses of IPv6, but none that a guest can send to. */
  async #hasOthers(egress: Egress, name: string): Promise<boolean> {
    const answer = (await egress.resolve?.(name, "AAAA")) ?? [];
    return answer.length > 0 && !answer.some((address) => this.#canBeSentTo(address));
  }

  #canBeSentTo(address: string): boolean {
    const numbers = parseIp(address);
    return numbers !== null && isForwardable(numbers) && !this.#inside.has(numbers);
  }

  /** Takes no more flows, ends those that are open, and closes the egresses. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#clock.clearTimer(this.#sweep);
    for (const flow of [...this.#flows]) flow.end("the gateway was closed");
    this.#taker?.close();
    const closing = (this.#settings.rules?.egresses ?? []).map(async (egress) => egress.close?.());
    for (const result of await Promise.allSettled(closing)) {
      if (result.status === "rejected") this.#hooks.failed(result.reason);
    }
  }

  #standIn(name: string, type: string, guest: string): NameAnswer | null {
    if (name.endsWith(".arpa")) return null;
    if (type !== "A" && type !== "ANY") return { answer: [], ttl: STAND_IN_TTL };
    const address = this.names.standIn(name, this.#guests.keyOf(guest));
    if (address === null) {
      throw new SocketError("ENOBUFS", `no address is left to stand for ${name}`);
    }
    return { answer: [address], ttl: STAND_IN_TTL };
  }

  async #takeTcp(pending: Flow): Promise<void> {
    const found = this.#placeOf("tcp", pending);
    const flow = new TcpGuestFlow(pending, found.place);
    await this.#take(flow, found, ({ tcp }) => tcp && (() => tcp.call(found.egress, flow)));
  }

  async #takeUdp(pending: UdpFlow): Promise<void> {
    const found = this.#placeOf("udp", pending);
    const flow = new UdpGuestFlow(pending, found.place);
    await this.#take(flow, found, ({ udp }) => udp && (() => udp.call(found.egress, flow)));
  }

  /** Gives a flow to the gateway itself or to its egress. */
  async #take(
    flow: TcpGuestFlow | UdpGuestFlow,
    { own, egress, meaning, place }: Place,
    taking: (egress: Egress) => (() => void | Promise<void>) | undefined,
  ): Promise<void> {
    this.#count(flow, place.guest);
    if (this.#isOver(place.guest)) {
      this.#counters.overLimit += 1;
      return flow.giveUp("too many flows");
    }
    if (flow.protocol === "udp") this.#makeRoom();
    if (own === null && meaning === null) return quietly(() => flow.unreachable("host"));
    const take = own === null ? taking(egress) : () => own(flow);
    if (take === undefined) return quietly(() => flow.unreachable("network"));
    flow.await(PATIENCE);
    try {
      await take();
    } catch (error) {
      // That a guest gives up is no failure of the egress.
      if (!isGivenUp(error)) this.#failed(error);
      flow.giveUp("the egress failed");
    }
  }

  /** Who has a flow, and where it leads. */
  #placeOf(protocol: "tcp" | "udp", { local, remote }: Flow | UdpFlow): Place {
    const guest = this.#guests.of(remote.address);
    const meaning = this.#meaningOf(guest, local.address);
    const { address, port } = local;
    const find = (hostname: string, address: string | null, to = port): Egress =>
      rules.find({ protocol, hostname, address, port: to });
    // Flows are taken only where there are rules.
    const rules = this.#settings.rules as NonNullable<EgressSettings["rules"]>;
    const hostname = meaning?.hostname ?? address;
    const egress = find(hostname, meaning?.address ?? null);
    const own = this.#hooks.own(protocol, address, port, meaning, egress.udp !== undefined);
    const release = this.names.hold(address);
    const ended = (flow: GuestFlow): boolean => {
      release();
      return this.#ended(flow, guest);
    };
    const place: FlowPlace = {
      guest,
      hostname,
      egress: own?.name ?? nameOf(egress),
      clock: this.#clock,
      parser: this.#parser,
      secured: this.#secured,
      leadsTo: (other, to) => {
        const isAddress = parseIp(other) !== null;
        if (other === hostname && to === port) return true;
        return find(other, isAddress ? other : null, to) === egress;
      },
      opened: (flow) => {
        this.#counters.opened += 1;
        this.#tell("opened", flow, null);
      },
      refused: (flow, reason) => {
        if (!ended(flow)) return;
        this.#counters.refused += 1;
        this.#tell("refused", flow, reason);
      },
      closed: (flow, reason) => {
        if (!ended(flow)) return;
        this.#counters.closed += 1;
        this.#tell("closed", flow, reason);
      },
    };
    return { place, meaning, egress, own: own?.take ?? null };
  }

  /** What an address means to a guest; null if it leads nowhere. */
  #meaningOf({ key }: Guest, address: string): Meaning | null {
    const numbers = parseIp(address);
    if (numbers === null || this.#inside.has(numbers)) return null;
    return this.names.meaningOf(key, address);
  }

  #count(flow: GuestFlow, guest: Guest): void {
    this.#flows.add(flow);
    guest.flows += 1;
    if (flow.protocol === "udp") this.#udpFlows += 1;
    if (flow.protocol === "udp" && this.#sweep === null) this.#armSweep();
  }

  #isOver({ flows }: Guest): boolean {
    const { perGuest, total } = this.#settings.flows;
    return flows > perGuest || this.#flows.size > total;
  }

  /** A flow is over. False if that was known. */
  #ended(flow: GuestFlow, guest: Guest): boolean {
    if (!this.#flows.delete(flow)) return false;
    guest.flows -= 1;
    if (flow.protocol === "udp") this.#udpFlows -= 1;
    const { bytesUp, bytesDown } = flow.record();
    this.#counters.bytesUp += bytesUp;
    this.#counters.bytesDown += bytesDown;
    this.#counters.datagramsDropped += flow.dropped;
    return true;
  }

  #tell(kind: FlowChange["kind"], flow: GuestFlow, reason: string | null): void {
    if (!this.#closed) this.#hooks.changed({ kind, flow: flow.record(), reason });
  }

  #failed(error: unknown): void {
    this.#counters.failed += 1;
    this.#hooks.failed(error);
  }

  /** Ends a UDP flow if there are too many: the one that was idle for longest, of the guest that has most, so that no guest takes another's. */
  #makeRoom(): void {
    if (this.#udpFlows <= this.#settings.flows.udp) return;
    const guests = new Map<Guest, { count: number; oldest: GuestFlow }>();
    for (const flow of this.#flows) {
      if (flow.protocol !== "udp" || flow.isAsked) continue;
      const { guest } = flow.place;
      const { count, oldest } = guests.get(guest) ?? { count: 0, oldest: flow };
      guests.set(guest, {
        count: count + 1,
        oldest: flow.active < oldest.active ? flow : oldest,
      });
    }
    const [most] = [...guests.values()].sort((a, b) => b.count - a.count);
    if (most === undefined) return;
    this.#counters.udpEvicted += 1;
    most.oldest.end("too many flows of datagrams");
  }

  /** Ends UDP flows that are idle, now and then. */
  #armSweep(): void {
    const { udpTimeout } = this.#settings.flows;
    const interval = Math.min(SWEEP, udpTimeout / 2);
    this.#sweep = this.#clock.setTimer(() => {
      this.#sweep = null;
      const now = this.#clock.now();
      for (const flow of [...this.#flows]) {
        if (flow.protocol !== "udp" || flow.isAsked) continue;
        const most = flow.local.port === DNS_PORT ? Math.min(DNS_TIMEOUT, udpTimeout) : udpTimeout;
        if (now - flow.active >= most) flow.end("idle");
      }
      if (this.#udpFlows > 0 && !this.#closed) this.#armSweep();
    }, interval);
    holdProgram(this.#sweep, false);
  }
}

/** Where a flow leads. */
interface Place {
  readonly place: FlowPlace;
  /** Null: nowhere. */
  readonly meaning: Meaning | null;
  readonly egress: Egress;
  readonly own: OwnFlow | null;
}

function nameOf(egress: Egress): string {
  return check.options("egress", egress).name ?? "egress";
}

/** Decides on a flow whose guest may have given up before. */
function quietly(decide: () => void): void {
  try {
    decide();
  } catch {
    // There is nobody left to tell.
  }
}

function isGivenUp(error: unknown): boolean {
  return (
    error instanceof SocketError && ["ECONNRESET", "ABORT_ERR", "ETIMEDOUT"].includes(error.code)
  );
}
