// Vocabularies that the server knows by name.

import { type NamedVocabulary as Message, SynonymMode } from "./generated/sed/v1/vocabulary";

/** A vocabulary that the server knows by name; proto/sed/v1/vocabulary.proto explains each field. */
export interface NamedVocabulary extends Omit<Message, "synonymMode"> {
  /** Says how the synonyms of its categories count. */
  synonymMode: "mean" | "best";
}

/** Reads a vocabulary from an answer. */
export function named(vocabulary: Message | undefined): NamedVocabulary {
  if (vocabulary === undefined) throw new TypeError("the answer has no vocabulary; is it a sed.v1 server?");
  const isBest = vocabulary.synonymMode === SynonymMode.SYNONYM_MODE_BEST;
  return { ...vocabulary, synonymMode: isBest ? "best" : "mean" };
}
