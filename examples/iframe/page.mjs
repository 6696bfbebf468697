/** A page with a Linux guest whose web site is shown in a frame. Its script calls `start`. */
import { createGateway } from "ethertab/gateway";
import { V86 } from "v86";
import { startGuest } from "/example/guest/browser.mjs";
import { DHCP } from "/example/guest/guest.mjs";
import { browse } from "./browse.mjs";

/** The web site, made in the guest: pages by busybox's httpd, and programs that answer requests (CGI). */
const SITE = String.raw`
mkdir -p /www/cgi-bin && cd /www
echo '<!doctype html><link rel=stylesheet href=/style.css><h1>guest site</h1><form method=post action=/cgi-bin/login><input name=user value=me><button>log in</button></form>' > index.html
echo 'h1 { color: rgb(1, 2, 3) }' > style.css
echo 0123456789 > data.txt
cat > cgi-bin/login <<'END'
#!/bin/sh
read -r body
printf 'Status: 303 See Other\nLocation: /cgi-bin/home\nSet-Cookie: session=%s; HttpOnly; Path=/\n\n' "$body"
END
cat > cgi-bin/home <<'END'
#!/bin/sh
case "$HTTP_COOKIE" in
*session=user=me*) printf 'Content-Type: text/html\n\n<h1>welcome</h1>' ;;
*) printf 'Status: 302 Found\nLocation: http://vm1/index.html\n\n' ;;
esac
END
cat > cgi-bin/echo <<'END'
#!/bin/sh
printf 'Content-Type: text/plain\n\n%s %s %s ' "$REQUEST_METHOD" "$HTTP_ORIGIN" "$HTTP_REFERER"
cat
END
chmod +x cgi-bin/* && httpd -p 80 -h /www; cd /
`;

/** Boots the guest and shows its site in a frame. @param {string} origin  where its pages live */
export async function start(origin) {
  const guest = await startGuest({
    V86,
    wasmPath: new URL("v86.wasm", import.meta.resolve("v86")).href,
    base: new URL("/guest/", location.href),
  });
  const gateway = await createGateway();
  const vm = await gateway.attach(guest.emulator, { name: "vm1" });
  await guest.check(DHCP);
  await guest.check(SITE);
  await vm.ready;
  await browse({ origin, target: "http://vm1", fetch: (...request) => gateway.fetch(...request) });
  const frame = document.createElement("iframe");
  frame.name = "site";
  // Without allow-top-navigation: what is shown cannot take this page away. Service workers need allow-same-origin, which means the frame's own origin.
  frame.sandbox = "allow-scripts allow-forms allow-same-origin";
  frame.src = `${origin}/`;
  document.body.append(frame);
  await new Promise((resolve) => frame.addEventListener("load", resolve, { once: true }));
}

globalThis.start = start;
