import type { CapturedFrame } from "ethertab";

/** A captured frame with this number; what is not given does not matter. */
export function frame(index: number, given: Partial<CapturedFrame> = {}): CapturedFrame {
  return {
    index,
    time: 1_000_000 + index,
    port: "left",
    direction: "out",
    length: 60,
    data: new Uint8Array(60),
    summary: `frame ${index}`,
    comment: null,
    ...given,
  };
}

/** Frames with these numbers. */
export function frames(from: number, to: number): CapturedFrame[] {
  return Array.from({ length: to - from }, (_, at) => frame(from + at));
}
