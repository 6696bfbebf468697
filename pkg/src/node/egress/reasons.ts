/** Why a system call failed, and what a guest is told of it. */

/** Why a system call failed. */
export function codeOf(error: unknown): string {
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === "string" ? code : String(error);
}

/** What a guest is told when there is no way to a host, by the code of the error. Others are refused. */
export const UNREACHABLE: Readonly<Record<string, "network" | "host" | "prohibited">> = {
  ENETUNREACH: "network",
  ENETDOWN: "network",
  EADDRNOTAVAIL: "network",
  EHOSTUNREACH: "host",
  EHOSTDOWN: "host",
  EACCES: "prohibited",
  EPERM: "prohibited",
};
