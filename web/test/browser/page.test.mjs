/** The page as its users meet it, with and without a Linux guest. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";
import {
  guestFolder,
  launch,
  noGuest,
  overflow,
  readCapture,
  serve,
  withPage,
} from "./support.mjs";

const DESKTOP = { viewport: { width: 1280, height: 900 } };
const NARROW = { viewport: { width: 360, height: 780 } };
/** Milliseconds that a guest may take to start, or a command in it to end, on a busy machine. */
const PATIENCE = 120_000;

let browser;
let bare;
let withGuest;
before(async () => {
  browser = await launch();
  bare = await serve();
  if (!noGuest) withGuest = await serve("--guest", guestFolder);
});
after(async () => {
  await browser?.close();
  await bare?.close();
  await withGuest?.close();
});

const button = (page, name) => page.getByRole("button", { name, exact: true });
const panel = (page, name) => page.getByRole("region", { name, exact: true });

/** Clicks a button as soon as it can be clicked. */
async function press(page, name) {
  await button(page, name).click({ timeout: PATIENCE });
}

/** Waits until a button can be clicked: those that type a command can when the shell waits for one. */
async function enabled(page, name) {
  await button(page, name).and(page.locator(":enabled")).waitFor({ timeout: PATIENCE });
}

/** Waits for text in the guest's terminal. */
async function printed(page, text) {
  await page.locator(".xterm-rows", { hasText: text }).waitFor({ timeout: PATIENCE });
}

/** What Tab reaches from the start of the page on, until it leaves the page. */
async function focusOrder(page) {
  const order = [];
  for (let step = 0; step < 80; step += 1) {
    await page.keyboard.press("Tab");
    const focused = await page.evaluate(() => {
      const element = document.activeElement;
      if (element === null || element === document.body) return null;
      const { outlineStyle, outlineWidth } = getComputedStyle(element);
      const name =
        element.getAttribute("aria-label") ??
        element.labels?.[0]?.textContent ??
        element.textContent ??
        "";
      return {
        name: name.trim(),
        outlined: outlineStyle !== "none" && Number.parseFloat(outlineWidth) >= 2,
      };
    });
    if (focused === null) break;
    order.push(focused);
  }
  return order;
}

test("without a guest the page says how to get one, and moves bytes over a cable", () =>
  withPage(browser, bare.url, DESKTOP, async (page) => {
    await page.getByText("There is no Linux guest here").waitFor();
    assert.equal(await page.getByText("cargo xtask demo").first().isVisible(), true);
    await page.getByText("All 20.0 MiB arrived as they were sent.").waitFor({ timeout: PATIENCE });
    const connections = panel(page, "Connections");
    await connections.getByText("10.0.0.2:5001").first().waitFor();
    const protocols = await readCapture(page);
    assert.ok(protocols.length > 14_000, `${protocols.length} frames`);
    for (const protocol of ["arp", "tcp"]) {
      assert.ok(
        protocols.some((layers) => layers.split(":").includes(protocol)),
        protocol,
      );
    }
  }));

test("a connection shows its figures, and its congestion control can be chosen while it runs", () =>
  withPage(browser, bare.url, DESKTOP, async (page) => {
    const connections = panel(page, "Connections");
    const details = connections.getByRole("button", { name: /^Details of .* at left$/ }).first();
    await details.focus();
    await details.press("Enter");
    assert.equal(await details.getAttribute("aria-expanded"), "true");
    const detail = connections.getByRole("group", { name: "Selected connection" });
    await detail.getByText("CUBIC").waitFor();
    for (const name of ["ssthresh", "srtt", "path MTU", "retransmission"]) {
      await detail.getByText(name, { exact: true }).first().waitFor();
    }
    await page.getByLabel("Congestion control").selectOption("BBR");
    await detail.getByText("BBR", { exact: true }).waitFor();
    await press(page, "Stop");
    await detail.getByText("is over; its last figures").waitFor();
    await detail.getByRole("button", { name: "Close" }).click();
    assert.equal(await detail.count(), 0);
    await press(page, "Start the transfer");
    await details.click();
    await detail.getByText("BBR", { exact: true }).waitFor();
  }));

test("a transfer can be stopped, and the cable changed", () =>
  withPage(browser, bare.url, DESKTOP, async (page) => {
    await press(page, "Stop");
    await page.getByText("Stopped: the connection was reset.").waitFor();
    const latency = page.getByRole("slider", { name: "Latency, each way" });
    await latency.press("End");
    assert.equal(await latency.getAttribute("aria-valuetext"), "500 ms");
    await latency.press("Home");
    await page.getByRole("slider", { name: "Rate" }).press("End");
    await page.getByRole("slider", { name: "Loss" }).press("Home");
    await press(page, "Start the transfer");
    await page.getByText("All 20.0 MiB arrived as they were sent.").waitFor({ timeout: PATIENCE });
  }));

test("frames are selected, filtered and held still by keyboard", () =>
  withPage(browser, bare.url, DESKTOP, async (page) => {
    await page.getByText("All 20.0 MiB arrived").waitFor({ timeout: PATIENCE });
    const list = page.getByRole("listbox");
    await list.focus();
    await list.press("End");
    const detail = page.getByRole("group", { name: "Selected frame" });
    await detail.getByText("Ethernet", { exact: true }).waitFor();
    assert.match(await detail.locator("pre").innerText(), /^0000 {2}([0-9a-f]{2} ){8}/);
    const last = await detail.locator("strong").innerText();
    await list.press("ArrowUp");
    assert.notEqual(await detail.locator("strong").innerText(), last);
    // In one look, since the list may still be moving.
    const selected = await list.evaluate((element) => {
      const active = element.getAttribute("aria-activedescendant");
      return document.getElementById(active)?.getAttribute("aria-selected");
    });
    assert.equal(selected, "true");

    await page.getByRole("searchbox").fill("fin !rst");
    const shown = await list.getByRole("option").allInnerTexts();
    assert.ok(shown.length > 0 && shown.length < 10, shown.join("\n"));
    assert.ok(shown.every((line) => line.includes("FIN")));

    await page.getByRole("searchbox").fill("");
    await press(page, "Pause");
    await press(page, "Ping");
    const count = page.getByText(/the list is held still/);
    await count.waitFor();
    const held = await count.innerText();
    await page.waitForTimeout(500);
    assert.equal(await count.innerText(), held);
    await press(page, "Pause");
    await list.getByText("ICMP").first().waitFor();
  }));

test("every control is reached by Tab, in the order of the page, and shows that it has the focus", () =>
  withPage(browser, bare.url, DESKTOP, async (page) => {
    await page.getByText("All 20.0 MiB arrived").waitFor({ timeout: PATIENCE });
    const order = await focusOrder(page);
    const names = order.map(({ name }) => name);
    const wanted = [
      "Skip to the network",
      "Linux guest",
      "Two stacks",
      "drop a v86 image",
      "Latency, each way",
      "Loss",
      "Rate",
      "Send",
      "Start the transfer",
      "Ping",
      "Table of connections",
      "Show only frames with these words",
      "Pause",
      "Clear",
      "Download pcapng",
      "Frames, the newest last",
    ];
    const found = wanted.map((name) => names.findIndex((text) => text.startsWith(name)));
    assert.deepEqual(
      found,
      found.toSorted((a, b) => a - b),
      names.join("\n"),
    );
    assert.ok(!found.includes(-1), names.join("\n"));
    assert.deepEqual(
      order.filter(({ outlined }) => !outlined),
      [],
    );
  }));

test("the skip link leads past the header", () =>
  withPage(browser, bare.url, DESKTOP, async (page) => {
    await page.getByText("There is no Linux guest here").waitFor();
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement?.id), "main");
    await page.keyboard.press("Tab");
    assert.equal(
      await page.evaluate(() => document.activeElement?.textContent),
      "drop a v86 image",
    );
  }));

test("files that are no guest are refused with what to do", () =>
  withPage(browser, bare.url, DESKTOP, async (page) => {
    await press(page, "drop a v86 image");
    await page.getByText("Drop a v86 image here").waitFor();
    await page.locator("input[type=file]").setInputFiles({
      name: "notes.txt",
      mimeType: "text/plain",
      buffer: Buffer.from("no kernel"),
    });
    await page.getByRole("alert").getByText("notes.txt is no Linux kernel").waitFor();
    assert.equal(await page.getByText("Choose other files.").isVisible(), true);
  }));

test("a state that v86 cannot use is refused with the reason", () =>
  withPage(browser, bare.url, DESKTOP, async (page) => {
    const state = Buffer.alloc(64);
    // The magic number, then a version that never was.
    new Uint32Array(state.buffer, state.byteOffset, 2).set([0x86768676, 99]);
    await press(page, "Linux guest");
    await page.locator("input[type=file]").setInputFiles({
      name: "old-state.bin",
      mimeType: "application/octet-stream",
      buffer: state,
    });
    const alert = page.getByRole("alert").getByText("v86 cannot use this state");
    await alert.waitFor({ timeout: PATIENCE });
    assert.match(await alert.innerText(), /dump=99/);
  }));

for (const colorScheme of ["light", "dark"]) {
  test(`nothing is wider than a narrow phone, without a guest (${colorScheme})`, () =>
    withPage(browser, bare.url, { ...NARROW, colorScheme }, async (page) => {
      await panel(page, "Connections")
        .getByRole("button", { name: /at left$/ })
        .first()
        .click();
      await page.getByText("All 20.0 MiB arrived").waitFor({ timeout: PATIENCE });
      await page.getByRole("group", { name: "Selected connection" }).waitFor();
      await page.getByRole("listbox").press("End");
      await page.getByRole("group", { name: "Selected frame" }).waitFor();
      assert.equal(await overflow(page), 0);
      await press(page, "Linux guest");
      await page.getByText("Drop a v86 image here").waitFor();
      assert.equal(await overflow(page), 0);
      const background = await page.evaluate(
        () => getComputedStyle(document.documentElement).backgroundColor,
      );
      const [red] = background.match(/\d+/g).map(Number);
      assert.equal(red > 128, colorScheme === "light", background);
    }));
}

test(
  "a guest takes a lease, pings, reads a page and 50 MiB, and serves a page",
  { skip: noGuest },
  () =>
    withPage(browser, withGuest.url, DESKTOP, async (page) => {
      await press(page, "Run udhcpc");
      await panel(page, "DHCP leases").getByText("10.0.2.15").waitFor({ timeout: PATIENCE });
      await press(page, "Ping the gateway");
      await printed(page, "3 packets transmitted, 3 packets received, 0% packet loss");
      await press(page, "Open shop.test");
      await printed(page, "Hello, Linux!");
      await press(page, "Start the guest's web server");
      await enabled(page, "Ping the gateway");
      await press(page, "Fetch from the guest's web server");
      const answer = panel(page, "The guest's web server");
      await answer.getByText("200 OK").waitFor({ timeout: PATIENCE });
      await answer.getByText("Hello from inside the VM").waitFor();
      await press(page, "wget 50 MiB");
      await panel(page, "Connections").getByText("ESTABLISHED").waitFor({ timeout: PATIENCE });
      await page.getByText("all 50 MiB arrived unharmed").waitFor({ timeout: PATIENCE });
      const protocols = await readCapture(page);
      assert.ok(protocols.length > 30_000, `${protocols.length} frames`);
    }),
);

test("the capture of a guest's first minute shows each protocol", { skip: noGuest }, () =>
  withPage(browser, withGuest.url, DESKTOP, async (page) => {
    await press(page, "Run udhcpc");
    await press(page, "Ping the gateway");
    await press(page, "Open shop.test");
    await printed(page, "Hello, Linux!");
    const protocols = new Set(
      (await readCapture(page, { decodeHttp: true })).flatMap((layers) => layers.split(":")),
    );
    for (const protocol of ["dhcp", "arp", "icmp", "dns", "tcp", "http"]) {
      assert.ok(protocols.has(protocol), `${protocol} is not among ${[...protocols].join(", ")}`);
    }
  }),
);

test("the terminal takes typing, keeps Tab, and lets go by keyboard", { skip: noGuest }, () =>
  withPage(browser, withGuest.url, DESKTOP, async (page) => {
    await enabled(page, "Run udhcpc");
    const terminal = page.getByRole("textbox", { name: "Terminal input" });
    await terminal.focus();
    await page.keyboard.type("echo $((6 * 7))-typed\n");
    await printed(page, "42-typed");
    await page.keyboard.press("Tab");
    assert.equal(await terminal.evaluate((element) => element === document.activeElement), true);
    // The buttons rest while a command runs, and Tab passes what rests.
    await enabled(page, "Run udhcpc");
    await page.keyboard.press("Escape");
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement?.textContent), "Run udhcpc");
    await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("Shift+Tab");
    assert.match(await page.evaluate(() => document.activeElement?.textContent), /Restart/);
  }),
);

test("a guest restarts with the other network card", { skip: noGuest }, () =>
  withPage(browser, withGuest.url, DESKTOP, async (page) => {
    await enabled(page, "Run udhcpc");
    await page.getByRole("combobox", { name: "Card" }).selectOption("ne2k");
    await press(page, "Restart with ne2k");
    await page.getByText("with a ne2k card").waitFor({ timeout: PATIENCE });
    await press(page, "Run udhcpc");
    await panel(page, "DHCP leases").getByText("bound").waitFor({ timeout: PATIENCE });
  }),
);

test("a saved state that is dropped on the page runs", { skip: noGuest }, () =>
  withPage(browser, bare.url, DESKTOP, async (page) => {
    const { states } = JSON.parse(await readFile(path.join(guestFolder, "guest.json"), "utf8"));
    await press(page, "Linux guest");
    await page.locator("input[type=file]").setInputFiles(path.join(guestFolder, states.virtio));
    await press(page, "Run udhcpc");
    await panel(page, "DHCP leases").getByText("bound").waitFor({ timeout: PATIENCE });
  }),
);

test("nothing is wider than a narrow phone, with a guest", { skip: noGuest }, () =>
  withPage(browser, withGuest.url, NARROW, async (page) => {
    await press(page, "Run udhcpc");
    await panel(page, "DHCP leases").getByText("bound").waitFor({ timeout: PATIENCE });
    assert.equal(await overflow(page), 0);
  }),
);
