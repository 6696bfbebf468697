// Repetitions, taken in turns, and what is made of them.

/** What `work()` takes: CPU seconds of this process, which other work on the machine does not lengthen, and the clock's. */
async function seconds(work) {
  const start = performance.now();
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return { cpu: (user + system) / 1e6, clock: (performance.now() - start) / 1e3 };
}

/**
 * Measures contenders in turns (first, second, first, second, ...), so that a change of the machine's speed meets all of them.
 *
 * Each is `{ work(amount), before?, after?, start?, limit?, amount?, warmUps? }`: `work` does `amount` units, in a promise if it
 * likes, and throws when the outcome is wrong, as `after` may, which like `before` is no part of the time. The amount is
 * grown in the warm-up, from `start`, until a repetition takes about `length` CPU seconds; with `amount` it is fixed and
 * the warm-up is `warmUps` repetitions.
 *
 * @returns for each contender its rates, one a repetition: `rates` in units a CPU second, `clockRates` by the clock
 */
export async function takeTurns(label, contenders, { repetitions = 5, length = 0.7 } = {}) {
  const amounts = {};
  for (const [name, contender] of Object.entries(contenders)) {
    amounts[name] = await calibrate(contender, length);
  }
  const none = () => Object.fromEntries(Object.keys(contenders).map((name) => [name, []]));
  const rates = none();
  const clockRates = none();
  for (let repetition = 1; repetition <= repetitions; repetition++) {
    const line = [];
    for (const [name, contender] of Object.entries(contenders)) {
      const { cpu, clock } = await once(contender, amounts[name]);
      rates[name].push(amounts[name] / cpu);
      clockRates[name].push(amounts[name] / clock);
      line.push(`${name} ${formatNumber(amounts[name] / cpu)}`);
    }
    console.log(`  ${label} ${repetition}/${repetitions}: ${line.join(", ")}`);
  }
  return { rates, clockRates };
}

/** One repetition: what its work takes. */
async function once({ before, work, after }, amount) {
  await before?.();
  const taken = await seconds(() => work(amount));
  await after?.();
  return taken;
}

/** The amount of work that takes about `length` CPU seconds. The code is compiled and warm after it. */
async function calibrate(contender, length) {
  const { start = 1000, limit = 4_000_000_000, warmUps = 1 } = contender;
  if (contender.amount !== undefined) {
    for (let run = 0; run < warmUps; run++) await once(contender, contender.amount);
    return contender.amount;
  }
  let amount = start;
  for (;;) {
    const { cpu } = await once(contender, amount);
    if (amount >= limit) return limit;
    if (cpu < length / 3) {
      amount = Math.min(limit, amount * 2);
      continue;
    }
    amount = Math.min(limit, Math.round((amount * length) / cpu));
    // The first run may have been slow code; the second sets the amount.
    const warm = await once(contender, amount);
    return Math.min(limit, Math.max(1, Math.round((amount * length) / warm.cpu)));
  }
}

/** One figure: the median of the samples, with their spread. */
export function figure(name, unit, samples) {
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const value =
    sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { name, value, unit, min: sorted[0], max: sorted[sorted.length - 1] };
}

/** The ratio of two contenders, repetition by repetition, so that its spread is its own. */
export function ratio(name, ours, theirs) {
  return figure(
    name,
    "ratio",
    ours.map((rate, i) => rate / theirs[i]),
  );
}

/** Four significant digits, thousands grouped. */
export function formatNumber(value) {
  return value >= 1000
    ? Math.round(value).toLocaleString("en-US")
    : String(Number(value.toPrecision(4)));
}
