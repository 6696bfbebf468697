/** How something ends, as a promise that is made when somebody asks for it: most are never asked for. */

/** A promise and its two ends. A rejection that nobody waits for is not an unhandled one. */
export class Outcome<T> {
  #promise: Promise<T> | null = null;
  #resolve: ((value: T) => void) | null = null;
  #reject: ((error: unknown) => void) | null = null;
  /** Makes the value of a promise that is asked for after the end. */
  #value: (() => T) | null = null;
  #error: unknown = null;
  #state: "open" | "resolved" | "rejected" = "open";

  /** Whether somebody has the promise and it is open. */
  get isAwaited(): boolean {
    return this.#promise !== null && this.#state === "open";
  }

  get promise(): Promise<T> {
    this.#promise ??= this.#made();
    return this.#promise;
  }

  #made(): Promise<T> {
    if (this.#value !== null) return Promise.resolve(this.#value());
    const promise =
      this.#state === "rejected"
        ? Promise.reject(this.#error)
        : new Promise<T>((resolve, reject) => {
            this.#resolve = resolve;
            this.#reject = reject;
          });
    promise.catch(() => {});
    return promise;
  }

  /** Settles it with what `value` makes, which is called at most once, now or when the promise is asked for. */
  resolve(value: () => T): void {
    if (this.#state !== "open") return;
    this.#state = "resolved";
    if (this.#resolve === null) this.#value = value;
    else this.#resolve(value());
  }

  reject(error: unknown): void {
    if (this.#state !== "open") return;
    this.#state = "rejected";
    this.#error = error;
    this.#reject?.(error);
  }
}
