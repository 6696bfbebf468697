// `createNet` and `createDgram` do what `node:net` and `node:dgram` of this Node do: see runner.mjs.

import { runAll } from "./runner.mjs";
import "./scenarios/connecting.mjs";
import "./scenarios/ending.mjs";
import "./scenarios/moving.mjs";
import "./scenarios/serving.mjs";
import "./scenarios/addresses.mjs";
import "./scenarios/arguments.mjs";
import "./scenarios/datagrams.mjs";
import "./scenarios/corners.mjs";
import "./scenarios/suite.mjs";
import "./scenarios/callbacks.mjs";
import "./scenarios/http.mjs";
import "./scenarios/surface.mjs";
import "./scenarios/tls.mjs";

runAll();
