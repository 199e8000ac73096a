const MAGIC: readonly (readonly [string, readonly number[], number])[] = [
  ["jpeg", [0xff, 0xd8, 0xff], 0],
  ["png", [0x89, 0x50, 0x4e, 0x47], 0],
  ["webp", [0x57, 0x45, 0x42, 0x50], 8],
  ["gif", [0x47, 0x49, 0x46, 0x38], 0],
  ["bmp", [0x42, 0x4d], 0],
  ["tiff", [0x49, 0x49, 0x2a, 0x00], 0],
  ["tiff", [0x4d, 0x4d, 0x00, 0x2a], 0],
];

/** Recognises a picture by its first bytes, as the server does; `null` if it is none that the server reads. */
export function formatOf(bytes: Uint8Array): string | null {
  const found = MAGIC.find(([, magic, at]) => magic.every((byte, index) => bytes[at + index] === byte));
  return found ? found[0] : null;
}

/** Names what a file is that is no picture for the server. */
export function otherKind(bytes: Uint8Array): string {
  const start = new TextDecoder().decode(bytes.subarray(0, 1024)).toLowerCase();
  if (start.includes("<svg")) return "an SVG drawing";
  if (start.includes("ftypheic") || start.includes("ftypmif1")) return "a HEIC picture";
  if (start.includes("ftypavif")) return "an AVIF picture";
  if (start.startsWith("%pdf")) return "a PDF document";
  return "no picture of these formats";
}
