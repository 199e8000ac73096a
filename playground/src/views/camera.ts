import { fill, place } from "../dom";
import { openCamera } from "../picture/camera";
import { Frames } from "../picture/frames";
import { ownProblem, problemOf } from "../rpc/problem";
import type { Server } from "../rpc/server";
import type { Store } from "../state";

/** Turns the camera on and off. While it is on, its newest frames are segmented one after the other. */
export function camera(store: Store, server: Server): void {
  const button = place("camera") as HTMLButtonElement;
  const video = place("video") as HTMLVideoElement;
  let stream: MediaStream | null = null;
  let frames: Frames | null = null;
  const stop = () => {
    frames?.stop();
    for (const track of stream?.getTracks() ?? []) track.stop();
    [stream, frames] = [null, null];
    video.srcObject = null;
    store.set({ pace: null });
    show(false);
  };
  const show = (on: boolean) => {
    fill(button, on ? "Stop the camera" : "Camera");
    button.setAttribute("aria-pressed", String(on));
  };
  const start = async () => {
    // A second click while the camera opens would open another one, which nothing stops.
    button.disabled = true;
    try {
      stream = await openCamera(video).finally(() => {
        button.disabled = false;
      });
      for (const track of stream.getTracks()) track.addEventListener("ended", stop);
      frames = new Frames(store, server, video);
      show(true);
      await frames.run();
    } catch (error) {
      const refused = error instanceof DOMException;
      const problem = refused ? ownProblem(`the camera cannot be used: ${error.message}`) : problemOf(error);
      store.set({ phase: { kind: "failed", problem } });
      stop();
    }
  };
  show(false);
  button.addEventListener("click", () => (stream ? stop() : void start()));
}
