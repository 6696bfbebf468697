/** Types that the declarations of the DOM have and those of Node lack: the package's hold with either. */

/** Bytes: memory, or a view of some. It is the type of this name in the DOM's declarations. */
export type BufferSource = ArrayBuffer | ArrayBufferView<ArrayBuffer>;

/** What a constructor of the platform makes; any object where no declaration has it. */
type Made<Platform, Constructor extends string> =
  Platform extends Record<Constructor, { prototype: infer Instance }> ? Instance : object;

/** A compiled module: a `WebAssembly.Module`. */
export type CompiledModule =
  typeof globalThis extends Record<"WebAssembly", infer Namespace>
    ? Made<Namespace, "Module">
    : object;

/** The memory of an instance: a `WebAssembly.Memory`. */
export interface ModuleMemory {
  /** What there is now; another after the memory has grown. */
  readonly buffer: ArrayBuffer;
}

/** A pair of keys, as `crypto.subtle.generateKey` makes them: a `CryptoKeyPair`. */
export interface KeyPair {
  /** Signs. */
  privateKey: Made<typeof globalThis, "CryptoKey">;
  /** Verifies. */
  publicKey: Made<typeof globalThis, "CryptoKey">;
}

/** One end of a `MessageChannel`. */
export type ChannelPort = Made<typeof globalThis, "MessagePort">;
