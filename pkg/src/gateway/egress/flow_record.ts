/** What is counted of one flow. */

/** Payload bytes from the guest and to it, and datagrams that its bandwidth has dropped. */
export interface Traffic {
  up: number;
  down: number;
  dropped: number;
}
