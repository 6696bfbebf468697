/** The stack's side of the sockets that another thread uses. Each forgets its number when both ends are through with it. */

import type { ListenerImpl } from "../listener.js";
import type { SocketImpl } from "../socket.js";
import type { SocketAddress, SocketInfo, TcpOptions, UdpSocket } from "../types.js";
import type { UdpSocketImpl } from "../udp.js";
import { type Channel, received, sendable, type Target } from "./channel.js";
import { ACCEPTS, CHUNK, Credit, DATAGRAMS, WINDOW } from "./flow_control.js";

/** A connection: what comes is sent on as far as the other thread has room, and what that sends is written as far as the stack has. */
export class HostedSocket implements Target {
  readonly socket: SocketImpl;
  readonly #channel: Channel;
  readonly #number: number;
  /** Bytes that the other thread takes now. */
  #room = WINDOW;
  #isEnded = false;
  readonly #unwritten: Uint8Array[] = [];
  readonly #written: Credit;
  /** What the other thread wants once all that it sent is written. */
  #then: "nothing" | "shutdown" | "close" = "nothing";
  #reason: unknown;

  constructor(channel: Channel, number: number, socket: SocketImpl) {
    this.#channel = channel;
    this.#number = number;
    this.socket = socket;
    this.#written = new Credit(WINDOW, (count) => channel.tell(number, "taken", count));
    channel.add(number, this);
    const told = (what: string, error: unknown): void =>
      channel.tell(number, what, sendable(error));
    socket.opened.then(
      (info) => channel.tell(number, "opened", { info, local: socket.local }),
      () => {},
    );
    socket.closed.then(
      () => {
        channel.tell(number, "closed");
        channel.remove(number);
      },
      (error) => {
        told("failed", error);
        channel.remove(number);
      },
    );
    socket.onready = () => this.#work();
    this.#work();
  }

  told(what: string, value: never): void {
    switch (what) {
      case "data":
        this.#unwritten.push(value);
        this.#write();
        break;
      case "credit":
        this.#room += value;
        this.#read();
        break;
      case "shutdown":
        if (this.#then === "nothing") this.#then = "shutdown";
        this.#write();
        break;
      case "close":
        this.#then = "close";
        this.#reason = received(value);
        this.#write();
        break;
      case "abort":
        this.socket.abort(received(value));
        break;
      case "options":
        this.socket.setTcpOptions(value);
        break;
    }
  }

  onChannelOver(): void {
    // As a socket ends that nobody holds any more: what was written is sent.
    this.#then = "close";
    this.#write();
  }

  #work(): void {
    this.#write();
    this.#read();
  }

  #read(): void {
    // Nobody wants what comes after `close`, which makes a reset of it.
    while (this.#room > 0 && !this.#isEnded && this.#then !== "close") {
      let chunk: Uint8Array<ArrayBuffer> | null;
      try {
        chunk = this.socket.tryReadChunk(Math.min(CHUNK, this.#room));
      } catch {
        // Told by `closed`.
        return;
      }
      if (chunk === null) return;
      if (chunk.byteLength === 0) {
        this.#isEnded = true;
        this.#channel.tell(this.#number, "end");
        return;
      }
      this.#room -= chunk.byteLength;
      this.#channel.tell(this.#number, "data", chunk, [chunk.buffer]);
    }
  }

  #write(): void {
    const { socket } = this;
    try {
      for (let first = this.#unwritten[0]; first !== undefined; first = this.#unwritten[0]) {
        const count = socket.tryWrite(first);
        this.#written.take(count);
        if (count < first.byteLength) {
          this.#unwritten[0] = first.subarray(count);
          return;
        }
        this.#unwritten.shift();
      }
      if (this.#then === "shutdown") socket.shutdown();
    } catch {
      this.#unwritten.length = 0;
    }
    if (this.#then === "close") void socket.close(this.#reason);
  }
}

/** Numbers of what this side has made; the other side's are positive. */
export class Numbers {
  #last = 0;

  next(): number {
    this.#last -= 1;
    return this.#last;
  }
}

/** A listener: connections go over as far as the other thread has room for them. */
export class HostedListener implements Target {
  readonly listener: ListenerImpl;
  readonly #channel: Channel;
  readonly #number: number;
  readonly #numbers: Numbers;
  #room = ACCEPTS;

  constructor(channel: Channel, number: number, listener: ListenerImpl, numbers: Numbers) {
    this.#channel = channel;
    this.#number = number;
    this.#numbers = numbers;
    this.listener = listener;
    channel.add(number, this);
    listener.listening.then(
      (address) => channel.tell(number, "listening", address),
      (error) => channel.tell(number, "failed", sendable(error)),
    );
    listener.closed.then(() => {
      channel.tell(number, "closed", sendable(listener.over));
      channel.remove(number);
    });
    listener.onready = () => this.#accept();
    this.#accept();
  }

  told(what: string, value: never): void {
    if (what === "credit") {
      this.#room += value;
      this.#accept();
    } else if (what === "close") void this.listener.close();
    else if (what === "options") this.listener.setTcpOptions(value as TcpOptions);
  }

  onChannelOver(): void {
    void this.listener.close();
  }

  #accept(): void {
    while (this.#room > 0) {
      const socket = this.listener.tryAccept();
      if (socket === null) return;
      this.#room -= 1;
      const number = this.#numbers.next();
      const { remote, local, allowHalfOpen } = socket as SocketImpl;
      const accepted: Accepted = { number, remote, local, allowHalfOpen };
      this.#channel.tell(this.#number, "accepted", accepted);
      new HostedSocket(this.#channel, number, socket as SocketImpl);
    }
  }
}

/** What the other thread is told of a connection that came. */
export interface Accepted {
  number: number;
  remote: SocketAddress;
  local: SocketAddress | null;
  allowHalfOpen: boolean;
}

/** What it is told of one that is open. */
export interface Opened {
  info: SocketInfo;
  local: SocketAddress | null;
}

/** A UDP socket: datagrams go over as far as the other thread has room for them. */
export class HostedUdp implements Target {
  readonly socket: UdpSocket;
  readonly #channel: Channel;
  readonly #number: number;
  readonly #nicNumber: (nic: unknown) => number | null;
  #room = DATAGRAMS;

  constructor(
    channel: Channel,
    number: number,
    socket: UdpSocket,
    nicNumber: (nic: unknown) => number | null,
  ) {
    this.#channel = channel;
    this.#number = number;
    this.#nicNumber = nicNumber;
    this.socket = socket;
    channel.add(number, this);
    socket.closed.then(() => {
      channel.tell(number, "closed", sendable((socket as UdpSocketImpl).over));
      channel.remove(number);
    });
    socket.onready = () => this.#receive();
    socket.onerror = (error, target, report) =>
      channel.tell(number, "error", { error: sendable(error), target, report });
  }

  told(what: string, value: never): void {
    if (what === "credit") {
      this.#room += value;
      this.#receive();
    } else if (what === "close") void this.socket.close();
  }

  onChannelOver(): void {
    void this.socket.close();
  }

  #receive(): void {
    while (this.#room > 0) {
      const datagram = this.socket.tryReceive();
      if (datagram === null) return;
      this.#room -= 1;
      const { data, nic, ...rest } = datagram;
      const sent = { ...rest, data, nic: this.#nicNumber(nic) };
      this.#channel.tell(this.#number, "datagram", sent, [data.buffer]);
    }
  }
}
