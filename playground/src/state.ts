import type { GetServerInfoResponse } from "./generated/sed/v1/segmentation_service_pb";
import type { NamedVocabulary } from "./generated/sed/v1/vocabulary_pb";
import type { Answer } from "./mask/answer";
import type { Picture } from "./picture/picture";
import type { Problem } from "./rpc/problem";
import type { Word } from "./words";

/** Views of the answer. */
export const VIEWS = ["regions", "confidence", "margin", "picture"] as const;
export type View = (typeof VIEWS)[number];

/** Choices of contrast words; `needed` is automatic with fewer than five words, as the command line has it. */
export const CONTRASTS = ["needed", "automatic", "off"] as const;
export type Contrast = (typeof CONTRASTS)[number];

/** Ways in which synonyms count. */
export const SYNONYMS = ["mean", "best"] as const;
export type Synonyms = (typeof SYNONYMS)[number];

/** The question and the look of the answer: the part of the state that the address holds. */
export interface Question {
  /** The name of an example; empty for a picture of the user's. */
  example: string;
  words: readonly Word[];
  /** The name of a vocabulary, asked for instead of the words; empty for the words. */
  vocabulary: string;
  contrast: Contrast;
  synonyms: Synonyms;
  /** `null` is the server's default, 0 turns rejection off. */
  topK: number | null;
  threshold: number;
  opacity: number;
  view: View;
}

/** The progress of a question. */
export type Phase =
  | { kind: "idle" }
  | { kind: "asking"; since: number }
  | { kind: "waiting"; problem: Problem; until: number; attempt: number }
  | { kind: "failed"; problem: Problem };

/** The pace of the camera's answers. */
export interface Pace {
  framesPerSecond: number;
  latencyMs: number;
  /** Frames that went by while others were under way. */
  skipped: number;
}

/** Everything that the page shows. */
export interface State extends Question {
  info: GetServerInfoResponse | null;
  vocabularies: readonly NamedVocabulary[];
  /** The problem that keeps the page from knowing the server; `null` if there is none. */
  offline: Problem | null;
  picture: Picture | null;
  answer: Answer | null;
  phase: Phase;
  /** The index of the category that is shown alone. */
  isolated: number | null;
  /** The pace of the camera; `null` while it is off. */
  pace: Pace | null;
}

/** The question before anything is chosen. */
export const FIRST: Question = {
  example: "farm",
  words: [],
  vocabulary: "",
  contrast: "needed",
  synonyms: "mean",
  topK: null,
  threshold: 0,
  opacity: 0.55,
  view: "regions",
};

type Watcher = (state: Readonly<State>) => void;

/** The state and its watchers. A watcher runs when one of its keys changes. */
export class Store {
  #state: State;
  readonly #watchers: { keys: readonly (keyof State)[]; run: Watcher }[] = [];

  constructor(state: State) {
    this.#state = state;
  }

  get now(): Readonly<State> {
    return this.#state;
  }

  /** Runs `run` now and after each change of one of the keys. */
  watch(keys: readonly (keyof State)[], run: Watcher): void {
    this.#watchers.push({ keys, run });
    run(this.#state);
  }

  set(change: Partial<State>): void {
    const before = this.#state;
    this.#state = { ...before, ...change };
    const changed = (Object.keys(change) as (keyof State)[]).filter((key) => before[key] !== this.#state[key]);
    for (const { keys, run } of this.#watchers) if (keys.some((key) => changed.includes(key))) run(this.#state);
  }
}
