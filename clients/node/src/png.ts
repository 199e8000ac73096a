// Index maps in PNG files, as the server writes them: 8 bits with a palette, or 16 bits of grey, not interlaced.

import { inflateSync } from "node:zlib";

const SIGNATURE = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");
const GREY = 0;
const PALETTE = 3;

/** Reads the index of every pixel, row by row. */
export function decodeIndexPng(file: Uint8Array): Uint16Array {
  const png = Buffer.from(file.buffer, file.byteOffset, file.byteLength);
  if (!png.subarray(0, 8).equals(SIGNATURE)) throw new TypeError("the index map is not a PNG file");
  const width = png.readUInt32BE(16);
  const height = png.readUInt32BE(20);
  const [bits, colour, , , interlaced] = png.subarray(24, 29);
  const isKnown = (bits === 8 && (colour === GREY || colour === PALETTE)) || (bits === 16 && colour === GREY);
  if (!isKnown || interlaced) throw new TypeError(`the index map is a PNG of ${bits} bits and colour type ${colour}`);
  const bytes = bits / 8;
  const rows = unfiltered(
    inflateSync(Buffer.concat(dataOf(png)), { maxOutputLength: height * (1 + bytes * width) }),
    bytes * width,
    height,
    bytes,
  );
  if (bytes === 1) return Uint16Array.from(rows);
  return Uint16Array.from({ length: width * height }, (_, pixel) => rows.readUInt16BE(2 * pixel));
}

/** Returns the content of the chunks IDAT: length, name, content and checksum follow each other. */
function dataOf(png: Buffer): Buffer[] {
  const found: Buffer[] = [];
  for (let at = SIGNATURE.length; at + 12 <= png.length; ) {
    const end = at + 8 + png.readUInt32BE(at);
    if (png.toString("latin1", at + 4, at + 8) === "IDAT") found.push(png.subarray(at + 8, end));
    at = end + 4;
  }
  return found;
}

/** Undoes the filters of the rows, whose number stands before each (https://www.w3.org/TR/png-3/#9Filters). */
function unfiltered(data: Buffer, stride: number, height: number, bytes: number): Buffer {
  if (data.length !== height * (stride + 1))
    throw new TypeError("the PNG of the index map has another size than it says");
  const rows = Buffer.alloc(height * stride);
  for (let y = 0; y < height; y++) {
    const filter = data[y * (stride + 1)] ?? 0;
    const row = rows.subarray(y * stride, (y + 1) * stride);
    const above = y > 0 ? rows.subarray((y - 1) * stride, y * stride) : Buffer.alloc(stride);
    data.copy(row, 0, y * (stride + 1) + 1);
    for (let x = 0; filter !== 0 && x < stride; x++) {
      row[x] = (row[x] ?? 0) + predicted(filter, row[x - bytes] ?? 0, above[x] ?? 0, above[x - bytes] ?? 0);
    }
  }
  return rows;
}

/** The value that a filter expects by the bytes on the left, above, and above on the left. */
function predicted(filter: number, left: number, up: number, corner: number): number {
  switch (filter) {
    case 1:
      return left;
    case 2:
      return up;
    case 3:
      return (left + up) >> 1;
    case 4: {
      const guess = left + up - corner;
      const [toLeft, toUp, toCorner] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
      if (toLeft <= toUp && toLeft <= toCorner) return left;
      return toUp <= toCorner ? up : corner;
    }
    default:
      throw new TypeError(`the PNG of the index map has a filter ${filter}, which does not exist`);
  }
}
