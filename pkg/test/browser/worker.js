import { runAll } from "./scenarios.js";

postMessage(await runAll());
