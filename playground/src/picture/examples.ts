import list from "../../../models/sed-tiny/examples/examples.json";
import type { Word } from "../words";

/** A picture that comes with the page. */
export interface Example {
  name: string;
  file: string;
  words: readonly Word[];
}

/** The scenes of `sed-serve demo`, with their words. */
export const EXAMPLES: readonly Example[] = list.map(({ file, words }) => {
  const name = file.replace(/\.png$/, "");
  return { name, file: `${name}.webp`, words: words.map((word) => [word]) };
});

/** Returns an example by its name. */
export function exampleOf(name: string): Example | undefined {
  return EXAMPLES.find((example) => example.name === name);
}

/** Loads the file of an example from this server. */
export async function fetchExample(example: Example): Promise<Blob> {
  const answer = await fetch(example.file);
  if (!answer.ok) throw new Error(`the example ${example.file} is missing: the server answers ${answer.status}`);
  return answer.blob();
}
