import { fill, h, place } from "../dom";
import type { Problem } from "../rpc/problem";
import type { Store } from "../state";

/** Shows an error as the server words it, with its details and the countdown to the next try. */
export function problem(store: Store): void {
  const area = place("problem");
  let timer = 0;
  store.watch(["phase"], ({ phase }) => {
    clearInterval(timer);
    if (phase.kind === "failed") fill(area, described(phase.problem));
    else if (phase.kind === "waiting") {
      const clock = h("p", { class: "countdown" });
      const tick = () => fill(clock, countdown(phase.until, phase.attempt));
      fill(area, described(phase.problem), clock);
      tick();
      timer = window.setInterval(tick, 250);
    } else fill(area);
  });
}

function described(problem: Problem): HTMLElement {
  const code = [problem.reason, problem.code].filter(Boolean).join(" · ");
  const metadata = Object.entries(problem.metadata);
  return h(
    "div",
    { class: "problem", role: "alert" },
    h("p", {}, problem.message),
    ...problem.places.map(({ name, description }) => h("p", {}, h("code", {}, name), description && ` ${description}`)),
    metadata.length > 0 && h("p", { class: "small" }, metadata.map(([key, value]) => `${key}: ${value}`).join(", ")),
    code && h("p", { class: "small faint" }, code),
  );
}

function countdown(until: number, attempt: number): string {
  const seconds = Math.max(0, Math.ceil((until - Date.now()) / 1000));
  return `Trying again in ${seconds} s (try ${attempt + 1})`;
}
