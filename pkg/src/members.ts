/** What belongs to somebody, found again without a search when it goes. */

/** Has its place among the members; -1 while it is none of them. */
export interface Member {
  place: number;
}

/** See the module's comment. Cheaper than a set where members come and go all the time. */
export class Members<T extends Member> {
  readonly #list: T[] = [];

  add(member: T): void {
    member.place = this.#list.push(member) - 1;
  }

  /** Does nothing for one that is none. */
  delete(member: T): void {
    if (this.#list[member.place] !== member) return;
    const last = this.#list.pop() as T;
    if (last !== member) {
      this.#list[member.place] = last;
      last.place = member.place;
    }
    member.place = -1;
  }

  /** The members as they are now, in no order. */
  all(): T[] {
    return [...this.#list];
  }
}
