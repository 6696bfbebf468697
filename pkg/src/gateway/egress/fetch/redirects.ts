/** Redirects followed one by one (Fetch standard, HTTP-redirect fetch), so that the rules are asked about each host before it is. */

/** The Fetch standard's limit. */
const MOST_REDIRECTS = 20;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
/** What describes a body, and goes with it. */
const BODY_FIELDS = ["content-encoding", "content-language", "content-location", "content-type"];
/** What is meant for one server. The platform knows which cookies are for another; a guest's are only what it has sent. */
const PRIVATE_FIELDS = ["authorization", "cookie"];

/** A request of `fetch`. */
export interface Asked {
  url: string;
  init: Omit<RequestInit, "headers" | "method"> & { method: string; headers: Headers };
}

/** What a request came to. */
export interface Followed {
  response: Response;
  /** Where it came from. */
  url: string;
  /** Where a redirect leads that is not followed; the response is then that redirect. */
  left: string | null;
  /** Whether a redirect has made it a GET, as which it goes on. */
  isChanged: boolean;
}

/**
 * Asks, and follows redirects to hosts that `leadsTo` permits; to the server that redirects they may go in any case.
 * @throws what `fetch` does, and where a redirect cannot be followed.
 */
export async function follow(
  fetch: typeof globalThis.fetch,
  asked: Asked,
  leadsTo: (url: URL) => boolean,
): Promise<Followed> {
  let { url, init } = asked;
  let isChanged = false;
  for (let count = 0; ; count += 1) {
    const response = await fetch(url, { ...init, redirect: "manual" });
    const location = REDIRECTS.has(response.status) ? response.headers.get("location") : null;
    if (location === null) return { response, url, left: null, isChanged };
    if (!URL.canParse(location, url))
      throw new TypeError(`a redirect to ${location}, which is no URL`);
    const next = new URL(location, url);
    if (next.protocol !== "http:" && next.protocol !== "https:") {
      throw new TypeError(`a redirect to ${next.protocol}, which is not HTTP`);
    }
    const isSame = next.origin === new URL(url).origin;
    if (!isSame && !leadsTo(next)) return { response, url, left: next.href, isChanged };
    response.body?.cancel().catch(() => {});
    if (count === MOST_REDIRECTS) throw new TypeError(`more than ${MOST_REDIRECTS} redirects`);
    const { status } = response;
    const isGet = init.method === "GET" || init.method === "HEAD";
    const becomesGet = (status === 303 && !isGet) || (status < 303 && init.method === "POST");
    const headers = new Headers(init.headers);
    for (const name of becomesGet ? BODY_FIELDS : []) headers.delete(name);
    for (const name of isSame ? [] : PRIVATE_FIELDS) headers.delete(name);
    if (!becomesGet && init.body instanceof ReadableStream) {
      throw new TypeError("a redirect asks for the body again, which was not held");
    }
    init = becomesGet ? { ...init, method: "GET", headers, body: null } : { ...init, headers };
    isChanged ||= becomesGet;
    url = next.href;
  }
}
