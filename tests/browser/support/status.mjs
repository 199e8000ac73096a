/** Answers of gRPC-Web that are errors, written by hand. */

/** The answer of an error with a reason and a delay, for `route.fulfill`. */
export function refusal({ code, message, reason, delaySeconds }) {
  const details = [
    any("google.rpc.ErrorInfo", [field(1, reason), field(2, "sed-serve")]),
    any("google.rpc.RetryInfo", [field(1, Buffer.from([0x08, delaySeconds]))]),
  ];
  const status = Buffer.concat([Buffer.from([0x08, code]), field(2, message), ...details.map((one) => field(3, one))]);
  return {
    status: 200,
    headers: {
      "content-type": "application/grpc-web+proto",
      "grpc-status": String(code),
      "grpc-message": encodeURIComponent(message),
      "grpc-status-details-bin": status.toString("base64").replace(/=+$/, ""),
    },
    body: "",
  };
}

function any(name, fields) {
  return Buffer.concat([field(1, `type.googleapis.com/${name}`), field(2, Buffer.concat(fields))]);
}

/** A field of bytes or text, shorter than 128 bytes or with a length of two bytes. */
function field(number, content) {
  const bytes = Buffer.from(content);
  const length = bytes.length < 128 ? [bytes.length] : [(bytes.length & 127) | 128, bytes.length >> 7];
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length]), bytes]);
}
