/**
 * Cookies of one host (RFC 6265), for a page that fetches on behalf of frames: what a service worker answers cannot set cookies in the browser. Attributes that
 * speak of other hosts or of HTTPS mean nothing here, and scripts in frames do not see these cookies: all are as with HttpOnly.
 */
export class CookieJar {
  /** Most cookies that are kept (RFC 6265 §6.1); beyond, the oldest goes. */
  static MOST = 50;
  /** Longest cookie, in characters. */
  static LONGEST = 4096;
  /** By name and path. @type {Map<string, { name: string, value: string, path: string, expires: number }>} */
  #cookies = new Map();

  /** @param {URL} url  that was asked for @param {string} field  value of a Set-Cookie field */
  store(url, field) {
    const [pair = "", ...attributes] = field.split(";");
    const equals = pair.indexOf("=");
    const name = pair.slice(0, equals).trim();
    if (equals < 1 || name === "" || field.length > CookieJar.LONGEST) return;
    let path = url.pathname.replace(/\/[^/]*$/, "") || "/";
    let expires = Number.POSITIVE_INFINITY;
    let hasAge = false;
    for (const attribute of attributes) {
      const [key, value = ""] = attribute.split(/=(.*)/s).map((part) => part.trim());
      const lower = key.toLowerCase();
      if (lower === "path" && value.startsWith("/")) path = value;
      if (lower === "max-age" && /^-?\d+$/.test(value)) {
        expires = Date.now() + Number(value) * 1000;
        hasAge = true;
      }
      // Max-Age wins (§4.1.2.2).
      if (lower === "expires" && !hasAge && !Number.isNaN(Date.parse(value))) {
        expires = Date.parse(value);
      }
    }
    const key = `${name};${path}`;
    this.#cookies.delete(key);
    if (expires <= Date.now()) return;
    this.#cookies.set(key, { name, value: pair.slice(equals + 1).trim(), path, expires });
    if (this.#cookies.size > CookieJar.MOST)
      this.#cookies.delete(this.#cookies.keys().next().value);
  }

  /** The Cookie field for a request; null for none. @param {URL} url */
  header(url) {
    const now = Date.now();
    const sent = [...this.#cookies.values()].filter(
      ({ path, expires }) => expires > now && matches(url.pathname, path),
    );
    // §5.4: those with longer paths first.
    sent.sort((a, b) => b.path.length - a.path.length);
    return sent.length === 0 ? null : sent.map(({ name, value }) => `${name}=${value}`).join("; ");
  }
}

function matches(pathname, path) {
  if (pathname === path) return true;
  return pathname.startsWith(path) && (path.endsWith("/") || pathname[path.length] === "/");
}
