/** The ports of the package over the media that browsers have, told by a list of lines that begin with "ok" or "failed". */

import {
  broadcastPort,
  createEngine,
  createStack,
  messagePort,
  plug,
  streamPort,
  webSocketPort,
} from "/dist/index.js";

/** A host in a worker, which is told by which medium it is reached. */
async function hostInWorker(medium) {
  const worker = new Worker("/ports_worker.js", { type: "module" });
  const { port1, port2 } = new MessageChannel();
  await new Promise((resolve) => {
    worker.onmessage = resolve;
    worker.postMessage({ medium, port: port2 }, [port2]);
  });
  worker.onmessage = null;
  return { worker, channel: port1 };
}

/** A host behind a port, in an engine of its own. */
async function hostBehind(port) {
  const stack = await createStack({ engine: await createEngine() });
  plug(stack.addInterface({ addresses: ["10.0.0.2/24"] }), port);
  const listener = stack.listen({ port: 7 });
  await listener.listening;
  (async () => {
    for await (const socket of listener) socket.readable.pipeTo(socket.writable);
  })();
  return stack;
}

/** Sends a megabyte to the echo of the host behind a port, and compares what comes back. */
async function echoes(port) {
  const stack = await createStack();
  plug(stack.addInterface({ addresses: ["10.0.0.1/24"] }), port);
  await port.opened;
  await stack.ping("10.0.0.2");
  const socket = stack.connect("10.0.0.2:7");
  const sent = Uint8Array.from({ length: 1_000_000 }, (_, index) => (index * 31) ^ (index >> 8));
  const writing = (async () => {
    const writer = socket.writable.getWriter();
    await writer.write(sent);
    await writer.close();
  })();
  const received = new Uint8Array(await new Response(socket.readable).arrayBuffer());
  await writing;
  port.close();
  await port.closed;
  const { invalid } = port.counters;
  await stack.close();
  if (received.length !== sent.length || received.some((byte, at) => byte !== sent[at]))
    return `${received.length} bytes came back, or others`;
  return invalid === 0 ? null : `${invalid} invalid messages`;
}

async function broadcast() {
  const { worker } = await hostInWorker("broadcast");
  const result = await echoes(broadcastPort());
  worker.terminate();
  return result;
}

async function workerItself() {
  const { worker } = await hostInWorker("scope");
  const result = await echoes(messagePort(worker));
  worker.terminate();
  return result;
}

async function messageChannel() {
  const { worker, channel } = await hostInWorker("port");
  const result = await echoes(messagePort(channel));
  worker.terminate();
  return result;
}

/** Unordered and without retransmission, as a wire is, and with all that SCTP does. */
async function dataChannel(options) {
  const [here, there] = [new RTCPeerConnection(), new RTCPeerConnection()];
  here.onicecandidate = ({ candidate }) => there.addIceCandidate(candidate);
  there.onicecandidate = ({ candidate }) => here.addIceCandidate(candidate);
  const near = messagePort(here.createDataChannel("lan", options));
  const answered = new Promise((resolve) => {
    there.ondatachannel = ({ channel }) => resolve(channel);
  });
  await here.setLocalDescription(await here.createOffer());
  await there.setRemoteDescription(here.localDescription);
  await there.setLocalDescription(await there.createAnswer());
  await here.setRemoteDescription(there.localDescription);
  const far = messagePort(await answered);
  const host = await hostBehind(far);
  const result = await echoes(near);
  await far.closed;
  await host.close();
  here.close();
  there.close();
  return result;
}

async function streams(options) {
  const [there, back] = [new TransformStream(), new TransformStream()];
  const far = streamPort(there.readable, back.writable, options);
  const host = await hostBehind(far);
  const result = await echoes(streamPort(back.readable, there.writable, options));
  await far.closed;
  await host.close();
  return result;
}

async function webSocket(options) {
  const url = `ws://${location.host}/${options.framing}`;
  const far = webSocketPort(url, options);
  await far.opened;
  const host = await hostBehind(far);
  const result = await echoes(webSocketPort(url, options));
  far.close();
  const { code, error } = await far.closed;
  await host.close();
  return result ?? (error === null && [1000, 1005].includes(code) ? null : `ended with ${code}`);
}

const SCENARIOS = {
  "a broadcast channel": broadcast,
  "a worker": workerItself,
  "a message channel": messageChannel,
  "a data channel": () => dataChannel({}),
  "a data channel without order": () => dataChannel({ ordered: false, maxRetransmits: 0 }),
  "streams of frames": () => streams({}),
  "streams of bytes": () => streams({ framing: "qemu" }),
  "a WebSocket": () => webSocket({ framing: "frames" }),
  "a WebSocket that reconnects, in QEMU's framing": () =>
    webSocket({ framing: "qemu", reconnect: true }),
};

export async function runAll() {
  const lines = [];
  for (const [name, scenario] of Object.entries(SCENARIOS)) {
    const failure = await scenario().catch((error) => error.stack);
    lines.push(failure === null ? `ok ${name}` : `failed ${name}: ${failure}`);
  }
  return lines;
}
