// `createNet` does what `node:net` of this Node does: see runner.mjs.

import { runAll } from "./runner.mjs";
import "./scenarios/connecting.mjs";
import "./scenarios/ending.mjs";
import "./scenarios/moving.mjs";
import "./scenarios/serving.mjs";
import "./scenarios/arguments.mjs";

runAll();
