/** A colour: red, green, blue. */
export type Rgb = readonly [number, number, number];

/** The values of a grey or palette PNG, row by row. */
export interface Plane {
  width: number;
  height: number;
  values: Uint8Array | Uint16Array;
  /** The colours of the values; empty in a grey PNG. */
  palette: readonly Rgb[];
}

interface Header {
  width: number;
  height: number;
  depth: number;
}

/** Decodes a PNG of one channel, with 8 or 16 bits, into its values. A canvas would only show their colours. */
export async function decodePlane(file: Uint8Array): Promise<Plane> {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const packed: Uint8Array[] = [];
  let header: Header | null = null;
  let palette: Rgb[] = [];
  for (let at = 8; at + 8 <= file.length; ) {
    const length = view.getUint32(at);
    const kind = new TextDecoder().decode(file.subarray(at + 4, at + 8));
    const content = file.subarray(at + 8, at + 8 + length);
    if (kind === "IHDR") header = readHeader(content);
    if (kind === "PLTE") palette = readPalette(content);
    if (kind === "IDAT") packed.push(content);
    at += length + 12;
  }
  if (!header) throw new Error("the mask is not a PNG");
  const { width, height, depth } = header;
  const rows = unfilter(await inflate(packed), width * (depth / 8), height, depth / 8);
  return { width, height, values: depth === 16 ? wide(rows) : rows, palette };
}

function readHeader(content: Uint8Array): Header {
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  const [depth, colour, interlaced] = [view.getUint8(8), view.getUint8(9), view.getUint8(12)];
  if ((depth !== 8 && depth !== 16) || (colour !== 0 && colour !== 3) || interlaced)
    throw new Error(
      `the mask is a PNG of depth ${depth} and colour type ${colour}; expected one channel of 8 or 16 bits`,
    );
  return { width: view.getUint32(0), height: view.getUint32(4), depth };
}

function readPalette(content: Uint8Array): Rgb[] {
  const colours = content.length / 3;
  const at = (index: number) => content[index] ?? 0;
  return Array.from({ length: colours }, (_, index) => [at(3 * index), at(3 * index + 1), at(3 * index + 2)]);
}

async function inflate(packed: readonly Uint8Array[]): Promise<Uint8Array> {
  const stream = new Blob([...packed] as Uint8Array<ArrayBuffer>[])
    .stream()
    .pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Undoes the filter of each row, whose first byte names it. */
function unfilter(data: Uint8Array, stride: number, height: number, step: number): Uint8Array {
  const rows = new Uint8Array(stride * height);
  for (let row = 0; row < height; row++) {
    const filter = data[row * (stride + 1)] ?? 0;
    const from = row * (stride + 1) + 1;
    const to = row * stride;
    for (let column = 0; column < stride; column++) {
      const left = column >= step ? (rows[to + column - step] ?? 0) : 0;
      const up = row > 0 ? (rows[to + column - stride] ?? 0) : 0;
      const corner = row > 0 && column >= step ? (rows[to + column - stride - step] ?? 0) : 0;
      rows[to + column] = (data[from + column] ?? 0) + predicted(filter, left, up, corner);
    }
  }
  return rows;
}

function predicted(filter: number, left: number, up: number, corner: number): number {
  if (filter === 0) return 0;
  if (filter === 1) return left;
  if (filter === 2) return up;
  if (filter === 3) return (left + up) >> 1;
  const [toLeft, toUp, toCorner] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
  if (toLeft <= toUp && toLeft <= toCorner) return left;
  return toUp <= toCorner ? up : corner;
}

/** Joins big-endian pairs of bytes. */
function wide(rows: Uint8Array): Uint16Array {
  return Uint16Array.from({ length: rows.length / 2 }, (_, at) => ((rows[2 * at] ?? 0) << 8) | (rows[2 * at + 1] ?? 0));
}
