import { CONTRASTS, FIRST, type Question, SYNONYMS, VIEWS } from "./state";
import { readWords, writeWord } from "./words";

/** Writes the question into the fragment of an address; values that are as at first are left out. */
export function toFragment(question: Question): string {
  const fields = new URLSearchParams();
  if (question.example !== FIRST.example) fields.set("example", question.example);
  for (const word of question.words) fields.append("w", writeWord(word));
  if (question.vocabulary) fields.set("vocabulary", question.vocabulary);
  for (const key of ["contrast", "synonyms", "view", "opacity", "threshold"] as const)
    if (question[key] !== FIRST[key]) fields.set(key, String(question[key]));
  if (question.topK !== null) fields.set("top_k", String(question.topK));
  return fields.toString();
}

/** Reads a question from the fragment of an address; what is missing or makes no sense is as at first. */
export function fromFragment(fragment: string): Question {
  const fields = new URLSearchParams(fragment.replace(/^#/, ""));
  const topK = fields.get("top_k");
  return {
    example: fields.get("example") ?? FIRST.example,
    words: fields.getAll("w").flatMap(readWords),
    vocabulary: fields.get("vocabulary") ?? "",
    contrast: oneOf(CONTRASTS, fields.get("contrast")) ?? FIRST.contrast,
    synonyms: oneOf(SYNONYMS, fields.get("synonyms")) ?? FIRST.synonyms,
    topK: topK === null ? null : Math.round(number(topK, 0, 1024) ?? 0),
    threshold: number(fields.get("threshold"), 0, 1) ?? FIRST.threshold,
    opacity: number(fields.get("opacity"), 0, 1) ?? FIRST.opacity,
    view: oneOf(VIEWS, fields.get("view")) ?? FIRST.view,
  };
}

function oneOf<T extends string>(values: readonly T[], text: string | null): T | undefined {
  return values.find((value) => value === text);
}

function number(text: string | null, least: number, most: number): number | undefined {
  const value = text === null || text === "" ? Number.NaN : Number(text);
  return Number.isFinite(value) ? Math.min(most, Math.max(least, value)) : undefined;
}
