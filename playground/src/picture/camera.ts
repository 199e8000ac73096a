import { encode } from "./load";
import type { Picture } from "./picture";

/** The longer side of a frame that is sent, in pixels. */
const FRAME_SIDE = 512;

/** The quality of a frame's JPEG. */
const QUALITY = 0.8;

/** Opens a camera, the one on the back of a phone if there are several. */
export async function openCamera(video: HTMLVideoElement): Promise<MediaStream> {
  const wanted = { video: { facingMode: "environment", width: { ideal: 1280 } }, audio: false };
  const stream = await navigator.mediaDevices.getUserMedia(wanted);
  video.srcObject = stream;
  try {
    await video.play();
  } catch (error) {
    for (const track of stream.getTracks()) track.stop();
    throw error;
  }
  return stream;
}

/** Captures the frame that the video shows. */
export async function frameOf(video: HTMLVideoElement): Promise<Picture> {
  const scale = Math.min(1, FRAME_SIDE / Math.max(video.videoWidth, video.videoHeight));
  const [width, height] = [Math.round(video.videoWidth * scale), Math.round(video.videoHeight * scale)];
  const bitmap = await createImageBitmap(video, { resizeWidth: width, resizeHeight: height });
  return { name: "camera.jpg", bytes: await encode(bitmap, QUALITY), width, height, bitmap, note: "" };
}
