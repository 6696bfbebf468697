/** Certificates by the openssl that is there: those that a server should have, and those that it should not. */

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const CONFIG = `
[ca]
default_ca = own
[own]
dir = .
new_certs_dir = ./new
database = ./index.txt
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = CA:FALSE
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
`;

const EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
const RSA = ["-newkey", "rsa:2048", "-nodes"];

/** An authority of openssl's, and what it signs. */
export class OpenSsl {
  #folder = mkdtempSync(join(tmpdir(), "ethertab-tls-"));
  #count = 0;

  constructor() {
    mkdirSync(join(this.#folder, "new"));
    writeFileSync(join(this.#folder, "index.txt"), "");
    writeFileSync(join(this.#folder, "openssl.cnf"), CONFIG);
  }

  #run(...args) {
    const options = { cwd: this.#folder, stdio: ["ignore", "pipe", "pipe"] };
    return execFileSync("openssl", args, options);
  }

  #read(name) {
    return readFileSync(join(this.#folder, name), "utf8");
  }

  /** A path in the folder, for openssl's own client and server. */
  path(name) {
    return join(this.#folder, name);
  }

  write(name, text) {
    writeFileSync(this.path(name), text);
    return this.path(name);
  }

  /** A certificate that has signed itself: an authority's unless `extensions` say otherwise. */
  selfSigned(name, { san, extensions = [], key = EC } = {}) {
    const files = ["-keyout", `${name}.key`, "-out", `${name}.pem`, "-days", "30"];
    const names = san === undefined ? [] : ["-addext", `subjectAltName=${san}`];
    this.#run("req", "-x509", ...key, ...files, "-subj", `/CN=${name}`, ...names, ...extensions);
    return { cert: this.#read(`${name}.pem`), key: this.#read(`${name}.key`), name };
  }

  /** An authority whose certificate is valid between two dates. */
  authority(name, dates) {
    const made = this.selfSigned(name);
    const file = ["-key", `${name}.key`, "-out", `${name}.csr`, "-subj", `/CN=${name}`];
    this.#run("req", "-new", ...file);
    const own = ["-selfsign", "-keyfile", `${name}.key`, "-extensions", "authority"];
    const period = ["-startdate", dates.start, "-enddate", dates.end];
    const files = ["-in", `${name}.csr`, "-out", `${name}.pem`];
    this.#run("ca", "-config", "openssl.cnf", "-batch", "-notext", ...own, ...period, ...files);
    return { ...made, cert: this.#read(`${name}.pem`) };
  }

  /** A certificate signed by an authority, valid between two dates as in `20200101000000Z`. */
  signed(by, name, { san, rsa = false, authority = false, start, end, usage } = {}) {
    this.#count += 1;
    const file = `${name}-${this.#count}`;
    const added = san === undefined ? [] : ["-addext", `subjectAltName=${san}`];
    if (usage !== undefined) added.push("-addext", `extendedKeyUsage=${usage}`);
    const kind = rsa ? RSA : EC;
    this.#run(
      "req",
      ...kind,
      "-keyout",
      `${file}.key`,
      "-out",
      `${file}.csr`,
      "-subj",
      `/CN=${name}`,
      ...added,
    );
    const dates = start === undefined ? ["-days", "30"] : ["-startdate", start, "-enddate", end];
    const section = ["-extensions", authority ? "authority" : "leaf"];
    const issuer = ["-cert", `${by.file ?? by.name}.pem`, "-keyfile", `${by.file ?? by.name}.key`];
    const batch = ["-config", "openssl.cnf", "-batch", "-notext"];
    this.#run(
      "ca",
      ...batch,
      ...issuer,
      ...section,
      ...dates,
      "-in",
      `${file}.csr`,
      "-out",
      `${file}.pem`,
    );
    return { cert: this.#read(`${file}.pem`), key: this.#read(`${file}.key`), name, file };
  }

  [Symbol.dispose]() {
    rmSync(this.#folder, { recursive: true });
  }
}
