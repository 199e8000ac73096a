import { fill, place } from "../dom";
import { read } from "../mask/answer";
import type { Store } from "../state";
import { tooltip } from "./tooltip";

/** Pixels of the mask that an arrow key moves by, as a share of its width. */
const STEP = 1 / 40;

/** The pixel that is looked at, by mouse, finger or keyboard. */
export class Pointer {
  readonly #canvas: HTMLCanvasElement;
  readonly #store: Store;
  readonly #tip = place("tip");
  /** The place of the keyboard, as shares of width and height. */
  #at = { x: 0.5, y: 0.5 };

  constructor(canvas: HTMLCanvasElement, store: Store) {
    this.#canvas = canvas;
    this.#store = store;
  }

  /** Adds the listeners. */
  follow(): void {
    const canvas = this.#canvas;
    canvas.addEventListener("pointermove", (event) => this.#show(this.#shares(event)));
    canvas.addEventListener("pointerleave", () => this.#hide());
    canvas.addEventListener("click", (event) => this.#isolate(this.#shares(event)));
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("blur", () => this.#hide());
    this.#store.watch(["answer"], () => this.#hide());
  }

  #shares(event: MouseEvent): { x: number; y: number } {
    const box = this.#canvas.getBoundingClientRect();
    return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
  }

  #key(event: KeyboardEvent): void {
    const step = event.shiftKey ? 4 * STEP : STEP;
    const moves: Record<string, [number, number]> = {
      ArrowLeft: [-step, 0],
      ArrowRight: [step, 0],
      ArrowUp: [0, -step],
      ArrowDown: [0, step],
    };
    const move = moves[event.key];
    if (move) {
      this.#show({ x: inside(this.#at.x + move[0]), y: inside(this.#at.y + move[1]) });
      fill(place("read"), [...this.#tip.children].map((row) => row.textContent).join(", "));
    } else if (event.key === "Enter" || event.key === " ") this.#isolate(this.#at);
    else if (event.key === "Escape") this.#store.set({ isolated: null });
    else return;
    event.preventDefault();
  }

  #show(at: { x: number; y: number }): void {
    const { answer } = this.#store.now;
    this.#at = { x: inside(at.x), y: inside(at.y) };
    if (!answer) return;
    const column = Math.min(answer.width - 1, Math.floor(this.#at.x * answer.width));
    const row = Math.min(answer.height - 1, Math.floor(this.#at.y * answer.height));
    tooltip(this.#tip, answer, read(answer, column, row));
    this.#tip.hidden = false;
    this.#place();
  }

  /** Puts the tip beside the pixel, on the side with more room. */
  #place(): void {
    const [x, y] = [this.#at.x * this.#canvas.clientWidth, this.#at.y * this.#canvas.clientHeight];
    const left = this.#at.x > 0.6 ? x - this.#tip.offsetWidth - 14 : x + 14;
    const top = this.#at.y > 0.6 ? y - this.#tip.offsetHeight - 14 : y + 14;
    this.#tip.style.setProperty("--x", `${Math.max(0, left + this.#canvas.offsetLeft)}px`);
    this.#tip.style.setProperty("--y", `${Math.max(0, top + this.#canvas.offsetTop)}px`);
  }

  #isolate(at: { x: number; y: number }): void {
    const { answer, isolated } = this.#store.now;
    if (!answer) return;
    const column = Math.min(answer.width - 1, Math.floor(inside(at.x) * answer.width));
    const row = Math.min(answer.height - 1, Math.floor(inside(at.y) * answer.height));
    const { index } = read(answer, column, row);
    this.#store.set({ isolated: index === isolated ? null : index });
  }

  #hide(): void {
    this.#tip.hidden = true;
  }
}

function inside(share: number): number {
  return Math.min(1, Math.max(0, share));
}
