// A server of the Redis serialization protocol, for a client that is tested.

/** Answers what comes by a socket, as much as is asked for here: strings, numbers, lists of commands. */
export function redis(socket, store) {
  let rest = Buffer.alloc(0);
  const answers = {
    info: () => bulk("redis_version:7.0.0"),
    client: () => "+OK\r\n",
    hello: () => "-ERR unknown command\r\n",
    ping: () => "+PONG\r\n",
    set: (key, value) => {
      store.set(key, value);
      return "+OK\r\n";
    },
    get: (key) => (store.has(key) ? bulk(store.get(key)) : "$-1\r\n"),
    incr: (key) => {
      const value = Number(store.get(key) ?? 0) + 1;
      store.set(key, String(value));
      return `:${value}\r\n`;
    },
    quit: () => "+OK\r\n",
  };
  socket.on("error", () => {});
  socket.on("data", (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    for (let command = take(); command !== null; command = take()) {
      const [name, ...args] = command;
      socket.write(answers[name.toLowerCase()]?.(...args) ?? "-ERR unknown command\r\n");
    }
  });
  const line = (at) => {
    const end = rest.indexOf("\r\n", at);
    return end < 0 ? null : { number: Number(rest.toString("latin1", at + 1, end)), next: end + 2 };
  };
  const take = () => {
    const head = line(0);
    if (head === null) return null;
    let at = head.next;
    const words = [];
    for (let word = 0; word < head.number; word += 1) {
      const length = line(at);
      if (length === null || rest.length < length.next + length.number + 2) return null;
      words.push(rest.toString("utf8", length.next, length.next + length.number));
      at = length.next + length.number + 2;
    }
    rest = rest.subarray(at);
    return words;
  };
}

const bulk = (text) => `$${Buffer.byteLength(text)}\r\n${text}\r\n`;
