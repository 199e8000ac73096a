import { fill, h, place } from "../dom";
import { type Problem, problemOf } from "../rpc/problem";
import type { Server } from "../rpc/server";
import type { Store } from "../state";

/** Shows the model in the header, and what keeps the page from knowing the server. */
export function introduce(store: Store, again: () => void): void {
  store.watch(["info"], ({ info }) => {
    const model = info?.model;
    if (!model) return;
    const facts = `${model.device}, ${model.dtype}, ${model.inputSide} × ${model.inputSide} pixels in`;
    fill(place("model"), h("strong", {}, model.name), h("span", {}, facts));
  });
  store.watch(["offline"], ({ offline }) => {
    fill(place("offline"), offline && trouble(offline, again));
  });
}

/** Asks for the server's model, limits and vocabularies; reports whether it answered. */
export async function refresh(store: Store, server: Server): Promise<boolean> {
  try {
    const [info, list] = await Promise.all([server.getServerInfo({}), server.listVocabularies({})]);
    store.set({ info, vocabularies: list.vocabularies, offline: null });
    return true;
  } catch (error) {
    store.set({ offline: problemOf(error) });
    return false;
  }
}

function trouble(problem: Problem, again: () => void): HTMLElement {
  const unreached = problem.code === "UNAVAILABLE" || problem.code === "UNKNOWN";
  return h(
    "div",
    { class: "banner", role: "alert" },
    h("span", {}, unreached && !problem.reason ? "The server does not answer." : problem.message),
    h("button", { type: "button", onclick: again }, "Try again"),
  );
}
