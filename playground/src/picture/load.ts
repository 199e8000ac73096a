import { bytes as size } from "../format";
import { formatOf, otherKind } from "./format";
import type { Picture, PictureLimits } from "./picture";

/** The longer side of a picture that had to be scaled, in pixels: more than any model's input needs. */
const SCALED_SIDE = 2048;
/** Pixels that a page draws without trouble; larger pictures are scaled even where the server would take them. */
const COMFORTABLE_PIXELS = 24e6;

/** A file that cannot be sent, with the reason for the user. */
export class NoPicture extends Error {}

/** Reads a file: recognises its format, and scales what is beyond the limits. */
export async function load(file: Blob, name: string, limits: PictureLimits): Promise<Picture> {
  const head = new Uint8Array(await file.slice(0, 1024).arrayBuffer());
  if (!formatOf(head)) {
    const reads = "the server reads JPEG, PNG, WebP, GIF, BMP and TIFF";
    throw new NoPicture(`${name || "this file"} is ${otherKind(head)}; ${reads}`);
  }
  const shown = await show(file);
  const pixels = shown.width * shown.height;
  const large = file.size > limits.bytes || pixels > limits.pixels || Math.max(shown.width, shown.height) > limits.side;
  if (large || pixels > COMFORTABLE_PIXELS) return scaled(file, name, shown);
  const bytes = new Uint8Array(await file.arrayBuffer());
  const bitmap = shown.width ? await createImageBitmap(file).catch(() => null) : null;
  const note = bitmap ? "" : "this browser cannot show the file; the server may read it";
  return { name, bytes, ...shown, bitmap, note };
}

/** The size of a picture, without its pixels in memory; 0 x 0 where the browser does not know the format. */
async function show(file: Blob): Promise<{ width: number; height: number }> {
  const url = URL.createObjectURL(file);
  const image = new Image();
  const loaded = new Promise<void>((resolve) => {
    image.onload = () => resolve();
    image.onerror = () => resolve();
  });
  image.src = url;
  await loaded;
  URL.revokeObjectURL(url);
  return { width: image.naturalWidth, height: image.naturalHeight };
}

async function scaled(file: Blob, name: string, was: { width: number; height: number }): Promise<Picture> {
  const beyond = `${was.width} × ${was.height} pixels, ${size(file.size)}`;
  if (!was.width) throw new NoPicture(`${name} (${size(file.size)}) is beyond the server's limits; scale it down`);
  const scale = Math.min(1, SCALED_SIDE / Math.max(was.width, was.height));
  const [width, height] = [Math.round(was.width * scale), Math.round(was.height * scale)];
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file, { resizeWidth: width, resizeHeight: height, resizeQuality: "high" });
  } catch {
    throw new NoPicture(`${name} (${beyond}) is too large for this browser; scale it down`);
  }
  const bytes = await encode(bitmap);
  return { name, bytes, width, height, bitmap, note: `scaled from ${beyond} to ${width} × ${height}` };
}

/** Encodes a picture as JPEG. */
export async function encode(bitmap: ImageBitmap, quality = 0.92): Promise<Uint8Array<ArrayBuffer>> {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0);
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality });
  return new Uint8Array(await blob.arrayBuffer());
}
