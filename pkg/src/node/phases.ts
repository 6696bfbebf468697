/**
 * The order in which libuv tells of things, which programs see in the order of events: what the network has brought; then what has
 * finished by then (a shutdown), and what finishes because of that; then what was closed. Each is a task of its own, so that
 * `process.nextTick` and promises run between any two.
 */

// The platform's, whatever a test puts in their place later.
const { setImmediate } = globalThis;
const { nextTick } = process;

export { nextTick, setImmediate as afterEvents };

export type Task = () => void;

/** When in a turn a task runs. */
export type Phase = "poll" | "pending" | "closing";

/** Rounds of finished things before the network has its turn again, as in libuv. */
const ROUNDS = 8;

const waiting: Record<Phase, Task[]> = { poll: [], pending: [], closing: [] };
/** What is left of the phase that runs, last task first. */
let running: Task[] = [];
let rounds = 0;
/** Whether what was closed comes before what the network has brought. */
let hasPolled = false;

/** Runs a task in its phase. */
export function post(phase: Phase, task: Task): void {
  waiting[phase].push(task);
  // One immediate for each task: Node runs ticks and promises between them.
  setImmediate(runOne);
}

function runOne(): void {
  if (running.length === 0) {
    const phase = nextPhase();
    running = waiting[phase].reverse();
    waiting[phase] = [];
  }
  running.pop()?.();
}

function nextPhase(): Phase {
  const { poll, pending, closing } = waiting;
  const isAlone = poll.length === 0 && closing.length === 0;
  if (pending.length > 0 && (rounds < ROUNDS || isAlone)) {
    rounds += 1;
    return "pending";
  }
  rounds = 0;
  const isClosing = closing.length > 0 && (hasPolled || poll.length === 0);
  hasPolled = !isClosing;
  return isClosing ? "closing" : "poll";
}
