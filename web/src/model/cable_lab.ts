/** Two stacks and a cable between them, which delays, loses and slows down. */

import {
  createStack,
  type Impairment,
  type Link,
  plug,
  type Stack,
  type TcpOptions,
} from "ethertab";
import type { ConnectionRow, Lab } from "./lab.js";
import { type Transfer, transfer } from "./transfer.js";
import { Watch } from "./watch.js";

/** A slider's positions. */
export interface Steps {
  /** What `Cable.set` takes. */
  values: readonly number[];
  labels: readonly string[];
}

/** Milliseconds each way. */
export const LATENCIES: Steps = steps(
  [0, 1, 2, 5, 10, 20, 50, 100, 200, 500],
  (value) => `${value} ms`,
);

/** Probability that a frame is lost. */
export const LOSSES: Steps = steps(
  [0, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1],
  (value) => `${Number((value * 100).toPrecision(2))} %`,
);

/** Bits per second; the last is more than the page can send. */
export const RATES: Steps = steps(
  [1e6, 2e6, 5e6, 1e7, 2e7, 5e7, 1e8, 2e8, 5e8, 1e9, 1e12],
  (value) => (value === 1e12 ? "no limit" : `${value >= 1e9 ? "1 G" : `${value / 1e6} M`}bit/s`),
);

function steps(values: readonly number[], label: (value: number) => string): Steps {
  return { values, labels: values.map(label) };
}

/** Positions of the sliders. */
export interface CableSettings {
  latency: number;
  loss: number;
  rate: number;
}

/** A lively link: 20 ms there and back, 100 Mbit/s, a loss now and then. */
export const DEFAULT_SETTINGS: Readonly<CableSettings> = {
  latency: LATENCIES.values.indexOf(10),
  loss: LOSSES.values.indexOf(0.0005),
  rate: RATES.values.indexOf(1e8),
};

/** What the cable is told at these positions. */
export function impairmentAt(settings: CableSettings): Impairment {
  return {
    latency: LATENCIES.values[settings.latency] ?? 0,
    loss: LOSSES.values[settings.loss] ?? 0,
    rate: RATES.values[settings.rate] ?? 1e12,
  };
}

const ADDRESSES = { left: "10.0.0.1", right: "10.0.0.2" } as const;

/** See the module's comment. */
export class CableLab implements Lab {
  readonly left: Stack;
  readonly right: Stack;
  readonly watch: Watch;
  readonly #link: Link;
  #transfer: Transfer | null = null;

  constructor(left: Stack, right: Stack, settings: CableSettings) {
    this.left = left;
    this.right = right;
    const nic = left.addInterface({ name: "left", addresses: [`${ADDRESSES.left}/24`] });
    const other = right.addInterface({ name: "right", addresses: [`${ADDRESSES.right}/24`] });
    this.#link = plug(nic, other, impairmentAt(settings));
    this.watch = new Watch(nic);
  }

  /** Changes the cable, under a running transfer too. */
  set(settings: CableSettings): void {
    this.#link.set(impairmentAt(settings));
  }

  /** Changes the sender's congestion control, of a running transfer too. */
  setCongestionControl(congestionControl: NonNullable<TcpOptions["congestionControl"]>): void {
    this.left.setTcpOptions({ congestionControl });
    this.#transfer?.socket.setTcpOptions({ congestionControl });
  }

  /** Sends bytes from left to right, and checks every one of them there. */
  send(bytes: number, signal: AbortSignal): Transfer {
    this.#transfer = transfer(this.left, this.right, ADDRESSES.right, bytes, signal);
    return this.#transfer;
  }

  /** Milliseconds that a ping from left to right took. */
  async ping(): Promise<number> {
    return (await this.left.ping(ADDRESSES.right)).rtt;
  }

  connections(): ConnectionRow[] {
    return [this.left, this.right].flatMap((stack) =>
      stack.connections().map((info) => ({ host: stack.hostname, ...info })),
    );
  }

  async close(): Promise<void> {
    this.watch.close();
    this.#link.unplug();
    await Promise.all([this.left.close(), this.right.close()]);
  }
}

/** Makes two stacks and their cable. */
export async function createCableLab(settings: CableSettings): Promise<CableLab> {
  const [left, right] = await Promise.all([
    createStack({ hostname: "left" }),
    createStack({ hostname: "right" }),
  ]);
  return new CableLab(left, right, settings);
}
