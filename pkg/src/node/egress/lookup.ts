/** Names as this computer looks them up, for guests. */

import dns from "node:dns";
import * as check from "../../arguments.js";
import { SocketError } from "../../errors.js";
import { codeOf } from "./reasons.js";

/** Lookups at a time: the system's have threads of Node's pool, which files need too. */
const MOST_LOOKUPS = 64;
/** There is no such name. */
const NO_NAME: ReadonlySet<string> = new Set(["ENOTFOUND", "EAI_NONAME", "EAI_NODATA", "NXDOMAIN"]);
const NO_RECORD = "ENODATA";

/** Looks names up; see the module's comment. */
export class HostLookup {
  /** Null: addresses are looked up as programs of this computer do it. */
  readonly #own: dns.promises.Resolver | null;
  readonly #resolver = new dns.promises.Resolver();
  readonly #hosts: ReadonlyMap<string, readonly string[]>;
  #running = 0;

  /** `hosts` are names with their addresses, which are not looked up. @throws {TypeError | RangeError} if a server is none. */
  constructor(
    hosts: ReadonlyMap<string, readonly string[]>,
    servers: readonly string[] | undefined,
  ) {
    this.#hosts = hosts;
    this.#own = servers === undefined ? null : this.#resolver;
    if (servers === undefined) return;
    const list = check.strings("options.dns", servers);
    try {
      this.#resolver.setServers(list);
    } catch (cause) {
      throw new RangeError(
        `options.dns must be addresses of name servers, got ${check.show(list.join(", "))}`,
        { cause },
      );
    }
  }

  /**
   * The addresses of a name, of both families; null if there is no such name.
   * @throws {SocketError} (ETIMEDOUT) if it cannot be found out.
   */
  addresses(name: string): Promise<string[] | null> {
    const given = this.#hosts.get(name);
    if (given !== undefined) return Promise.resolve([...given]);
    return this.#limited(name, async () => {
      if (this.#own === null) {
        const found = await dns.promises.lookup(name, { all: true, verbatim: true });
        return found.map(({ address }) => address);
      }
      const own = this.#own;
      const both = await Promise.all([
        settled(() => own.resolve4(name)),
        settled(() => own.resolve6(name)),
      ]);
      const found = both.flatMap((one) => one ?? []);
      return both.every((one) => one === null) ? null : found;
    });
  }

  /** The data of a name's records as master files have it; null if there is no such name. Throws as {@link addresses} does. */
  records(name: string, type: string): Promise<string[] | null> {
    const read = READ[type];
    if (read === undefined || this.#hosts.has(name)) return Promise.resolve([]);
    return this.#limited(name, () => settled(() => read(this.#resolver, name)));
  }

  /** Ends what is being looked up. */
  close(): void {
    this.#resolver.cancel();
  }

  async #limited(name: string, look: () => Promise<string[] | null>): Promise<string[] | null> {
    if (this.#running >= MOST_LOOKUPS) {
      throw new SocketError("ENOBUFS", `${name}: too many names are being looked up`);
    }
    this.#running += 1;
    try {
      return await settled(look);
    } catch (cause) {
      const code = codeOf(cause);
      throw new SocketError("ETIMEDOUT", `${name} could not be looked up: ${code}`, { cause });
    } finally {
      this.#running -= 1;
    }
  }
}

/** Null for no such name, an empty list for no such record. */
async function settled(look: () => Promise<string[] | null>): Promise<string[] | null> {
  try {
    return await look();
  } catch (error) {
    const code = codeOf(error);
    if (NO_NAME.has(code)) return null;
    if (code === NO_RECORD) return [];
    throw error;
  }
}

/** Record types that can be told, and how. */
const READ: Readonly<
  Record<string, (resolver: dns.promises.Resolver, name: string) => Promise<string[]>>
> = {
  CNAME: (resolver, name) => resolver.resolveCname(name),
  NS: (resolver, name) => resolver.resolveNs(name),
  PTR: (resolver, name) => resolver.resolvePtr(name),
  MX: async (resolver, name) =>
    (await resolver.resolveMx(name)).map(
      ({ priority, exchange }) => `${priority} ${exchange || "."}`,
    ),
  TXT: async (resolver, name) => (await resolver.resolveTxt(name)).map((parts) => parts.join("")),
  SRV: async (resolver, name) =>
    (await resolver.resolveSrv(name)).map(
      ({ priority, weight, port, name }) => `${priority} ${weight} ${port} ${name}`,
    ),
  SOA: async (resolver, name) => {
    const { nsname, hostmaster, serial, refresh, retry, expire, minttl } =
      await resolver.resolveSoa(name);
    return [`${nsname} ${hostmaster} ${serial} ${refresh} ${retry} ${expire} ${minttl}`];
  },
};
