import "./styles/index.css";
import { fromFragment, toFragment } from "./address";
import { Asking } from "./asking";
import { stage } from "./paint/stage";
import { exampleOf } from "./picture/examples";
import { open, openExample } from "./pictures";
import { connect } from "./rpc/server";
import { Store } from "./state";
import { access } from "./views/access";
import { ambiguities } from "./views/ambiguities";
import { camera } from "./views/camera";
import { code } from "./views/code";
import { downloads } from "./views/downloads";
import { funnel } from "./views/funnel";
import { introduce, refresh } from "./views/introduce";
import { legend } from "./views/legend";
import { live } from "./views/live";
import { note } from "./views/note";
import { optionsView } from "./views/options";
import { problem } from "./views/problem";
import { run } from "./views/run";
import { sources } from "./views/sources";
import { theme } from "./views/theme";
import { timing } from "./views/timing";
import { viewBar } from "./views/view_bar";
import { vocabularies } from "./views/vocabularies";
import { wordsView } from "./views/words";

const question = fromFragment(window.location.hash);
const store = new Store({
  ...question,
  info: null,
  vocabularies: [],
  offline: null,
  picture: null,
  answer: null,
  phase: { kind: "idle" },
  isolated: null,
  pace: null,
});
const server = connect();
const asking = new Asking(store, server);
const ask = () => void asking.ask();

theme();
introduce(store, () => void begin());
access(() => void begin());
sources(store, {
  file: (file, name) => void open(store, file, name, ask),
  example: (name) => void openExample(store, name, "own", ask),
});
camera(store, server);
stage(store);
viewBar(store);
wordsView(store, ask);
vocabularies(store, server, ask);
optionsView(store, ask);
run(store, asking);
problem(store);
legend(store);
ambiguities(store, ask);
timing(store);
funnel(store, server, ask);
code(store);
downloads(store, server, asking);
live(store);
note(store);

store.watch(
  ["example", "words", "vocabulary", "contrast", "synonyms", "topK", "threshold", "opacity", "view"],
  (state) => history.replaceState(null, "", `#${toFragment(state)}`),
);
void begin();

/** Learns about the server, then shows the example that the address names. */
async function begin(): Promise<void> {
  if (!(await refresh(store, server)) || store.now.picture) return;
  const { example, words, vocabulary } = store.now;
  const named = exampleOf(example);
  if (named) await openExample(store, named.name, words.length || vocabulary ? "kept" : "own", ask);
}
