/** What the tests of this folder are about: a shop, and a client that tries again when the network fails. */

/** A shop on a host of a world. Each order gets a number; `orders` is all that were taken. */
export function openShop(host) {
  const orders = [];
  const known = new Map();
  host.serve(80, async (request) => {
    const key = request.headers.get("idempotency-key");
    const order = await request.text();
    if (key !== null && known.has(key)) return Response.json({ number: known.get(key) });
    orders.push(order);
    if (key !== null) known.set(key, orders.length);
    return Response.json({ number: orders.length });
  });
  return orders;
}

/** Tries up to five times, one second apart, with two seconds for each try: what many clients do by default. */
async function tryAgain(clock, attempt) {
  for (let tries = 1; ; tries += 1) {
    try {
      const tooLong = new AbortController();
      const timer = clock.setTimeout(() => tooLong.abort(new Error("no answer in time")), "2s");
      try {
        return await attempt(tooLong.signal);
      } finally {
        clock.clearTimeout(timer);
      }
    } catch (error) {
      if (tries === 5) throw error;
      await clock.sleep("1s");
    }
  }
}

/** Orders something. The bug: when the answer was lost, the order was taken all the same, and the next try orders again. */
export function orderCarelessly(host, clock, what) {
  return tryAgain(clock, async (signal) => {
    const response = await host.fetch("http://shop/", { method: "POST", body: what, signal });
    return (await response.json()).number;
  });
}

/** The same with a key that makes all tries one order. */
export function orderOnce(host, clock, what, key) {
  return tryAgain(clock, async (signal) => {
    const headers = { "idempotency-key": key };
    const response = await host.fetch("http://shop/", {
      method: "POST",
      body: what,
      headers,
      signal,
    });
    return (await response.json()).number;
  });
}

/** A network on which what is sent may take long: a line with bursts of loss. */
export function buildNetwork(world) {
  const customer = world.host("customer");
  const shop = world.host("shop");
  const cable = world.cable(customer, shop, {
    latency: "40ms",
    jitter: "10ms",
    burstLoss: { start: 0.02, stop: 0.2 },
  });
  return { customer, shop, cable };
}
