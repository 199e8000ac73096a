/** A picture as it goes to the server, with what the browser shows of it. */
export interface Picture {
  /** The file's name; empty for a picture without a file. */
  name: string;
  bytes: Uint8Array<ArrayBuffer>;
  /** Width in pixels; 0 where the browser cannot show the format. */
  width: number;
  height: number;
  bitmap: ImageBitmap | null;
  /** A note on what happened to the picture before it is sent; empty if it goes as it is. */
  note: string;
}

/** The page's own limits, where the server's are not known yet. */
export interface PictureLimits {
  bytes: number;
  pixels: number;
  side: number;
}
