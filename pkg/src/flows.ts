/** Flows to any address: how a stack stands in for everybody whom the hosts on a link want to reach. */

import * as check from "./arguments.js";
import { holdProgram, reportUncaught } from "./clock.js";
import { deferred, type EngineCore, type Sink } from "./engine_core.js";
import { SocketError } from "./errors.js";
import { acceptedOf } from "./listener.js";
import { FLOW_ENDS } from "./names.js";
import type { NicImpl } from "./nic.js";
import { fieldsOf } from "./records.js";
import { tcpSettings, tcpValues } from "./tcp_options.js";
import type {
  AcceptAnyOptions,
  AnyAddress,
  Flow,
  FlowEnds,
  FlowUnreachable,
  Socket,
  SocketAddress,
  UdpFlow,
  UdpSocket,
} from "./types.js";

const BACKLOG = 511;
const PER_SOURCE = 64;
const TIMEOUT = 30_000;
const MICROSECONDS = 1_000;
/** Added to the time after which the stack gives a handshake up, so that it does so first. */
const MARGIN = 1_000;

/** What `decide_flow` of the module takes. */
const ACCEPT = 0;
const REFUSE = 1;
const UNREACHABLE: Readonly<Record<FlowUnreachable, number>> = {
  network: 2,
  host: 3,
  port: 4,
  prohibited: 5,
};

/** What `flow_ends` of the module tells. */
interface Ends {
  local: SocketAddress;
  remote: SocketAddress;
  isUdp: boolean;
}

const ENDS = fieldsOf(FLOW_ENDS);

/** Makes the socket of an accepted connection. */
export type Accepting = (
  id: number,
  remote: SocketAddress,
  local: SocketAddress,
  allowHalfOpen: boolean,
) => Socket;

/** Makes the socket of an accepted UDP flow. */
export type AcceptingUdp = (id: number, remote: SocketAddress, local: SocketAddress) => UdpSocket;

/** A handshake that goes on. */
interface Opening {
  allowHalfOpen: boolean;
  settle: ReturnType<typeof deferred<Socket>>;
  timer: unknown;
}

/** A connection's name. */
function keyOf(local: SocketAddress, remote: SocketAddress): string {
  return `${check.hostPort(local.address, local.port)} ${check.hostPort(remote.address, remote.port)}`;
}

/** See {@link AnyAddress}. */
export class FlowTaker implements AnyAddress, Sink {
  readonly engine: EngineCore;
  readonly nic: NicImpl;
  readonly #host: number;
  readonly #listener: number;
  readonly #onflow: AcceptAnyOptions["onflow"];
  readonly #onudpflow: AcceptAnyOptions["onudpflow"];
  readonly #accepting: Accepting;
  readonly #acceptingUdp: AcceptingUdp;
  readonly #released: (taker: FlowTaker) => void;
  readonly #opening = new Map<string, Opening>();
  #over: Error | null = null;

  /** @throws {SocketError} if the stack has no listener left; TypeError if the interface's flows are taken already. */
  constructor(
    engine: EngineCore,
    host: number,
    nic: NicImpl,
    options: AcceptAnyOptions,
    accepting: Accepting,
    acceptingUdp: AcceptingUdp,
    released: (taker: FlowTaker) => void,
  ) {
    const given = check.options("options", options);
    const onflow = check.callback("options.onflow", given.onflow);
    if (onflow === null) {
      throw new TypeError(`options.onflow must be a function, got ${check.show(given.onflow)}`);
    }
    const onudpflow = check.callback("options.onudpflow", given.onudpflow);
    const backlog = check.integer("options.backlog", given.backlog ?? BACKLOG, 1, 65_535);
    const perSource = check.integer("options.perSource", given.perSource ?? PER_SOURCE, 1, 65_535);
    const timeout = check.duration("options.timeout", given.timeout ?? TIMEOUT, 1);
    const settings = tcpValues("options.tcp", given.tcp);
    if (nic.taker !== null) {
      throw new TypeError(`the flows that come in by ${nic.name} are taken already`);
    }
    this.engine = engine;
    this.nic = nic;
    this.#host = host;
    this.#onflow = onflow;
    this.#onudpflow = onudpflow;
    this.#accepting = accepting;
    this.#acceptingUdp = acceptingUdp;
    this.#released = released;
    this.#listener = engine.call(
      (wasm) =>
        wasm.take_flows(
          host,
          nic.id,
          backlog,
          perSource,
          timeout * MICROSECONDS,
          onudpflow !== null,
          engine.give(settings),
        ),
      `flows of ${nic.name}`,
    );
    engine.addSink(this.#listener, this);
    nic.taker = this;
  }

  /** Keeps no program from its end any more. */
  runInBackground(): void {
    this.engine.runInBackground(this.#listener);
  }

  /** The stack asks about a flow. */
  ask(number: number): void {
    const ends = this.engine.record<Ends>(ENDS, (wasm) => wasm.flow_ends(number));
    if (ends === null || this.#over !== null) return;
    if (!ends.isUdp) {
      this.#ask(new PendingTcpFlow(this, number, ends), this.#onflow);
    } else if (this.#onudpflow) {
      this.#ask(new PendingUdpFlow(this, number, ends), this.#onudpflow);
    }
  }

  #ask<F extends PendingFlow>(flow: F, onflow: (flow: F) => void | Promise<void>): void {
    const failed = (error: unknown) => {
      flow.drop();
      reportUncaught(error);
    };
    try {
      Promise.resolve(onflow(flow)).catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  /** Returns the number of the socket of an accepted UDP flow. */
  decide(number: number, verdict: number): number | undefined {
    if (this.#over !== null) throw this.#over;
    const id = this.engine.call((wasm, now) => wasm.decide_flow(now, number, verdict), "flow");
    this.engine.wake();
    return id;
  }

  /** The socket that comes of a UDP flow. */
  openUdp(id: number, flow: UdpFlow): UdpSocket {
    return this.#acceptingUdp(id, flow.remote, flow.local);
  }

  /** The connection that comes of a flow. */
  open(flow: Flow, allowHalfOpen: boolean): Promise<Socket> {
    const key = keyOf(flow.local, flow.remote);
    const settle = deferred<Socket>();
    const timer = this.engine.clock.setTimer(() => {
      this.#opening.delete(key);
      settle.reject(new SocketError("ETIMEDOUT", `accept ${key}: the peer did not answer`));
    }, this.#patience());
    holdProgram(timer, false);
    this.#opening.set(key, { allowHalfOpen, settle, timer });
    return settle.promise;
  }

  /** How long the stack waits for the end of a handshake, in milliseconds. */
  #patience(): number {
    const numbers = this.engine.exchange(tcpValues("", {}), (wasm, now, count) =>
      wasm.tcp_settings(now, this.#listener, count),
    );
    const { initialRto, maxRto, synAckRetries } = tcpSettings(numbers);
    let sum = MARGIN;
    for (let sent = 0, rto = initialRto; sent <= synAckRetries; sent += 1, rto *= 2) {
      sum += Math.min(rto, maxRto);
    }
    return sum;
  }

  onSignals(): void {
    for (;;) {
      if (this.#over !== null) return;
      const accepted = acceptedOf(this.engine, this.#listener);
      if (accepted === null) return;
      const { local, remote } = accepted;
      const key = keyOf(local, remote);
      const opening = this.#opening.get(key);
      if (opening === undefined) {
        // Nobody waits for it any more.
        this.engine.call((wasm, now) => wasm.close(now, accepted.socket, true));
        continue;
      }
      this.#opening.delete(key);
      this.engine.clock.clearTimer(opening.timer);
      const { allowHalfOpen } = opening;
      opening.settle.resolve(this.#accepting(accepted.socket, remote, local, allowHalfOpen));
    }
  }

  onEngineOver(error: Error): void {
    this.#end(error);
  }

  close(error?: Error): void {
    if (this.#over !== null) return;
    if (!this.nic.isClosed) {
      this.engine.call((wasm) => wasm.take_no_flows(this.#host, this.nic.id));
    }
    this.engine.call((wasm, now) => wasm.close_listener(now, this.#listener));
    this.engine.wake();
    this.#end(
      error ?? new SocketError("ABORT_ERR", `the flows of ${this.nic.name} are not taken any more`),
    );
  }

  #end(error: Error): void {
    if (this.#over !== null) return;
    this.#over = error;
    this.nic.taker = null;
    this.engine.removeSink(this.#listener);
    for (const { settle, timer } of this.#opening.values()) {
      this.engine.clock.clearTimer(timer);
      settle.reject(error);
    }
    this.#opening.clear();
    this.#released(this);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** A flow that nothing was decided on. */
class PendingFlow implements FlowEnds {
  readonly local: SocketAddress;
  readonly remote: SocketAddress;
  protected readonly taker: FlowTaker;
  readonly #number: number;
  #decided = false;

  constructor(taker: FlowTaker, number: number, ends: Ends) {
    this.taker = taker;
    this.#number = number;
    this.local = ends.local;
    this.remote = ends.remote;
  }

  get nic(): NicImpl {
    return this.taker.nic;
  }

  refuse(): void {
    this.decide(REFUSE);
  }

  unreachable(reason: FlowUnreachable = "host"): void {
    check.oneOf("reason", Object.keys(UNREACHABLE), reason);
    this.decide(UNREACHABLE[reason]);
  }

  /** Refuses it if nothing was decided. */
  drop(): void {
    if (this.#decided) return;
    try {
      this.refuse();
    } catch {
      // The peer has given up before.
    }
  }

  /** Returns the number of the socket of an accepted UDP flow. */
  protected decide(verdict: number): number | undefined {
    if (this.#decided) throw new TypeError("it was decided on this flow before");
    const id = this.taker.decide(this.#number, verdict);
    this.#decided = true;
    return id;
  }
}

/** See {@link Flow}. */
class PendingTcpFlow extends PendingFlow implements Flow {
  async accept(options?: { allowHalfOpen?: boolean }): Promise<Socket> {
    const given = check.options("options", options);
    const allowHalfOpen = check.boolean("options.allowHalfOpen", given.allowHalfOpen, false);
    this.decide(ACCEPT);
    return this.taker.open(this, allowHalfOpen);
  }
}

/** See {@link UdpFlow}. */
class PendingUdpFlow extends PendingFlow implements UdpFlow {
  accept(): UdpSocket {
    const id = this.decide(ACCEPT);
    if (id === undefined) throw new TypeError("a flow of datagrams has no socket");
    return this.taker.openUdp(id, this);
  }
}
