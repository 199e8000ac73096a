/** A category in words: its name, then its synonyms. At least one phrase. */
export type Word = readonly string[];

/** Reads words as they are typed: separated by commas or lines, synonyms by `|`. */
export function readWords(text: string): Word[] {
  const words = text.split(/[,\n]/).map((part) => part.split("|").map(clean).filter(Boolean));
  return words.filter((word) => word.length > 0);
}

/** Writes a word as it is typed. */
export function writeWord(word: Word): string {
  return word.join(" | ");
}

/** Makes the second word's phrases synonyms of the first one; the second is gone. */
export function join(words: readonly Word[], into: number, from: number): Word[] {
  const [target, source] = [words[into], words[from]];
  if (!target || !source || into === from) return [...words];
  const joined = [...new Set([...target, ...source])];
  return words.map((word, at) => (at === into ? joined : word)).filter((_, at) => at !== from);
}

/** Splits a word with synonyms into words of one phrase each. */
export function split(words: readonly Word[], at: number): Word[] {
  return words.flatMap((word, index) => (index === at ? word.map((phrase) => [phrase]) : [word]));
}

function clean(phrase: string): string {
  return phrase.replace(/\s+/g, " ").trim();
}
