// The Node client against a server with TLS, certificates of clients and tokens.
//
// node secure.mjs HOST:PORT FOLDER TOKEN    FOLDER holds ca, client and stranger, as `run` makes them

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Client, Unauthenticated, Unavailable } from "sed-serve-client";

const [target, folder, token] = process.argv.slice(2);
const ours = { ca: `${folder}/ca.pem`, certificate: `${folder}/client.pem`, key: `${folder}/client.key` };

/** The server's information for a client with these credentials, or the error that it gets. */
async function answer(options, address = target) {
  const client = new Client(address, { timeoutMs: 20_000, ...options });
  return client.serverInfo().catch((error) => error).finally(() => client.close());
}

const asBytes = Object.fromEntries(Object.entries(ours).map(([name, path]) => [name, readFileSync(path)]));
for (const info of [await answer({ token, ...ours }), await answer({ token, ...asBytes }, `https://${target}`)]) {
  assert(info.model?.name, info);
}
const refused = [
  [{ ...ours }, Unauthenticated, "TOKEN_MISSING"],
  [{ ...ours, token: "0123456789abcdef" }, Unauthenticated, "TOKEN_INVALID"],
  [{ token, ca: ours.ca }, Unavailable, ""],
  [{ token, ca: ours.ca, certificate: `${folder}/stranger.pem`, key: `${folder}/stranger.key` }, Unavailable, ""],
  [{ token, ...ours, ca: `${folder}/other-ca.pem` }, Unavailable, ""],
];
for (const [credentials, kind, reason] of refused) {
  const error = await answer(credentials);
  assert(error instanceof kind, error);
  assert.equal(error.reason, reason);
}
assert((await answer({ token }, `http://${target}`)) instanceof Unavailable);
console.log("Node: let in with certificate and token; refused: no or a wrong token or certificate, plaintext");
