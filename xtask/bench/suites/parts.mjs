// What each part of the stack adds to the modules: bytes of its functions, before compression. The modules are those that wasm-bindgen has
// written and wasm-opt has not yet optimised, since they name their functions. What the compiler puts inside a function counts for that.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { figure } from "../lib/measure.mjs";

const CODE_SECTION = 10;
const IMPORT_SECTION = 2;
const CUSTOM_SECTION = 0;
const FUNCTION_NAMES = 1;
const FUNCTION_KIND = 0;

/** What JavaScript calls has a name without a path, as only the compiler's own functions for memory have besides. */
const CALLED = /^(?!mem)[a-z]\w*$/;

/** The parts by what the names of their functions contain; the first that fits counts. */
const PARTS = {
  engine: {
    javascript: new RegExp(`ethertab_wasm|wasm_bindgen|js_sys|${CALLED.source}`),
    networks: /ethertab_sim/,
    fragments: /stack::(reassembly|fragment_)/,
    neighbours: /stack::(neighbor|resolution|arp)|wire::(ndp|arp)/,
    addresses: /stack::(address|selection|autoconfiguration)/,
    router_advertisements: /stack::router_advertiser/,
    multicast: /stack::(multicast|groups|querier|memberships)|wire::groups/,
    routes: /stack::(routes|prefix_trie)/,
    forwarding: /stack::forward/,
    translation: /stack::nat/,
    any_address: /stack::accept_any/,
    icmp: /stack::(icmp|error_reports|path_mtus|ping)|wire::icmp/,
    udp: /stack::udp/,
    raw_sockets: /stack::(raw|packet)/,
    media: /stack::media/,
    tcp: /ethertab::tcp|stack::(tcp_|half_open|time_wait)|wire::tcp/,
    stack: /ethertab::/,
  },
  services: {
    dhcpv6: /dhcpv6/,
    dhcp: /dhcp/,
    mdns: /mdns|dns_sd/,
    dns: /dns|resolver|happy_eyeballs/,
    ntp: /ntp/,
    http: /httparse/,
    captures: /capture|pcap|summary/,
    javascript: new RegExp(`ethertab_services|wasm_bindgen|js_sys|${CALLED.source}`),
  },
};

class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  /** An unsigned number in LEB128. */
  number() {
    let value = 0;
    for (let shift = 1; ; shift *= 128) {
      const byte = this.bytes[this.at++];
      value += (byte & 127) * shift;
      if (byte < 128) return value;
    }
  }

  take(length) {
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  text() {
    return new TextDecoder().decode(this.take(this.number()));
  }

  get ended() {
    return this.at >= this.bytes.length;
  }
}

/** Steps over what an import has after its names; whether it is a function. */
function isFunctionImport(reader) {
  const kind = reader.take(1)[0];
  const limits = () => {
    const flags = reader.number();
    reader.number();
    if (flags & 1) reader.number();
  };
  if (kind === FUNCTION_KIND) reader.number();
  else if (kind === 1) {
    reader.take(1);
    limits();
  } else if (kind === 2) limits();
  else reader.take(2);
  return kind === FUNCTION_KIND;
}

/** The files of the stack by the methods that they give it: what a method's name does not tell. */
function filesOfMethods(root) {
  const folder = path.join(root, "core/src/stack");
  const files = new Map();
  for (const file of readdirSync(folder, { recursive: true })) {
    if (!file.endsWith(".rs")) continue;
    const text = readFileSync(path.join(folder, file), "utf8");
    for (const [, method] of text.matchAll(/^ {4}(?:pub(?:\([a-z]+\))? )?fn (\w+)/gm)) {
      files.set(method, file.replace(/\.rs$/, "").replaceAll("/", "::"));
    }
  }
  return files;
}

/** A function's name without the compiler's hashes, with the file of a method of the stack. */
function nameOf(name, files) {
  const plain = name.replace(/\[[0-9a-f]+\]/g, "");
  const method = /^<ethertab::stack::Stack>::(\w+)/.exec(plain);
  return method ? `ethertab::stack::${files.get(method[1]) ?? "mod"}::${method[1]}` : plain;
}

/** The functions of a module: their names and the bytes of their code. */
function functions(module) {
  const reader = new Reader(module);
  reader.take(8);
  let imported = 0;
  const sizes = [];
  const names = new Map();
  while (!reader.ended) {
    const id = reader.take(1)[0];
    const section = new Reader(reader.take(reader.number()));
    if (id === IMPORT_SECTION) {
      for (let left = section.number(); left > 0; left--) {
        section.text();
        section.text();
        if (isFunctionImport(section)) imported++;
      }
    } else if (id === CODE_SECTION) {
      for (let left = section.number(); left > 0; left--) {
        const size = section.number();
        section.take(size);
        sizes.push(size);
      }
    } else if (id === CUSTOM_SECTION && section.text() === "name") {
      while (!section.ended) {
        const kind = section.take(1)[0];
        const part = new Reader(section.take(section.number()));
        if (kind !== FUNCTION_NAMES) continue;
        for (let left = part.number(); left > 0; left--) names.set(part.number(), part.text());
      }
    }
  }
  return sizes.map((size, index) => ({ size, name: names.get(imported + index) ?? "" }));
}

function parts(root, module, file) {
  const at = path.join(root, ".build/wasm-bindgen", file);
  if (!existsSync(at)) throw new Error(`${at} is missing: build first`);
  const sums = {
    ...Object.fromEntries(Object.keys(PARTS[module]).map((part) => [part, 0])),
    rest: 0,
  };
  const files = filesOfMethods(root);
  for (const { size, name } of functions(readFileSync(at))) {
    const full = nameOf(name, files);
    const found = Object.entries(PARTS[module]).find(([, pattern]) => pattern.test(full));
    sums[found?.[0] ?? "rest"] += size;
  }
  return Object.entries(sums).map(([part, bytes]) =>
    figure(`size.parts.${module}.${part}`, "bytes", [bytes]),
  );
}

/** What `run.mjs` runs. */
export const benchmarks = [
  { prefix: "size.parts.engine.", run: ({ root }) => parts(root, "engine", "ethertab_bg.wasm") },
  {
    prefix: "size.parts.services.",
    run: ({ root }) => parts(root, "services", "services_bg.wasm"),
  },
];
