import { fill, place } from "../dom";

const KEY = "sed-serve-theme";
const THEMES = ["auto", "light", "dark"] as const;
type Theme = (typeof THEMES)[number];

/** Switches between the system's colours, light and dark ones. The choice is remembered. */
export function theme(): void {
  const button = place("theme");
  const stored = localStorage.getItem(KEY);
  let now: Theme = THEMES.find((one) => one === stored) ?? "auto";
  const show = () => {
    if (now === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = now;
    fill(button, { auto: "◐ Auto", light: "○ Light", dark: "● Dark" }[now]);
    button.setAttribute("aria-label", `Colours: ${now}. Switch`);
  };
  button.addEventListener("click", () => {
    now = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length] ?? "auto";
    localStorage.setItem(KEY, now);
    show();
  });
  show();
}
