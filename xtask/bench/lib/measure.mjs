// Repetitions, taken in turns, and what is made of them.

/** CPU seconds that this process takes for `work()`: other work on the machine does not count. */
function cpuSeconds(work) {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

/**
 * Measures contenders in turns (first, second, first, second, ...), so that a change of the machine's speed meets all of them.
 *
 * Each is `{ work(amount), unit, limit? }`: `work` does `amount` units and throws when the outcome is wrong. The amount is
 * grown in the warm-up until a repetition takes about `seconds`.
 *
 * @returns for each contender its rates in units a CPU second, one a repetition
 */
export function takeTurns(label, contenders, { repetitions = 5, seconds = 0.7 } = {}) {
  const amounts = {};
  for (const [name, contender] of Object.entries(contenders)) {
    amounts[name] = calibrate(contender, seconds);
  }
  const rates = Object.fromEntries(Object.keys(contenders).map((name) => [name, []]));
  for (let repetition = 1; repetition <= repetitions; repetition++) {
    const line = [];
    for (const [name, contender] of Object.entries(contenders)) {
      const rate = amounts[name] / cpuSeconds(() => contender.work(amounts[name]));
      rates[name].push(rate);
      line.push(`${name} ${formatNumber(rate)}`);
    }
    console.log(`  ${label} ${repetition}/${repetitions}: ${line.join(", ")}`);
  }
  return rates;
}

/** The amount of work that takes about `seconds`. The code is compiled and warm after it. */
function calibrate({ work, start = 1000, limit = 4_000_000_000 }, seconds) {
  let amount = start;
  for (;;) {
    const taken = cpuSeconds(() => work(amount));
    if (amount >= limit) return limit;
    if (taken < seconds / 3) {
      amount = Math.min(limit, amount * 2);
      continue;
    }
    amount = Math.min(limit, Math.round((amount * seconds) / taken));
    // The first run may have been slow code; the second sets the amount.
    const warm = cpuSeconds(() => work(amount));
    return Math.min(limit, Math.max(1, Math.round((amount * seconds) / warm)));
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
