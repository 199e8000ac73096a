// The state of preparing words.

import type { PrepareVocabularyResponse } from "./generated/sed/v1/vocabulary";
import { type InputWarning, milliseconds, warningsOf } from "./result";

/** The progress of preparing the words of a vocabulary. */
export interface Preparation {
  /** The different names and synonyms to prepare, those of contrast words included. */
  phrases: number;
  /** Those whose text embeddings were there when the call began. */
  known: number;
  /** Those whose text embeddings are ready on every device. */
  embedded: number;
  /** Predicted milliseconds until all are ready; undefined while nothing is known of it. */
  remainingMs: number | undefined;
  /** True in the last state: the next request with these words does not wait for them. */
  ready: boolean;
  /** The host that prepares. Another replica holds the same only if they share a folder of text embeddings. */
  replica: string;
  /** For each of its devices, for example `cuda:0`, the phrases that are ready there. */
  devices: { device: string; embedded: number }[];
  /** Advice on the words, in the last state. */
  warnings: InputWarning[];
}

/** Reads a state from a message. */
export function preparation(message: PrepareVocabularyResponse): Preparation {
  const { phrases, known, embedded, remaining, ready, replica, devices, warnings } = message;
  const remainingMs = remaining && milliseconds(remaining);
  return { phrases, known, embedded, remainingMs, ready, replica, devices, warnings: warningsOf(warnings) };
}
