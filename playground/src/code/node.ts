import type { Word } from "../words";
import type { Call } from "./call";

/** The request with the Node client of clients/node. */
export function node(call: Call): string {
  const { question, contrast } = call;
  const words = question.vocabulary
    ? `{ vocabulary: ${JSON.stringify(question.vocabulary)} }`
    : `[${question.words.map(word).join(", ")}]`;
  const options = [
    question.synonyms === "best" && 'synonyms: "best"',
    contrast === "automatic" && 'contrast: "auto"',
    contrast === "off" && "contrast: null",
    question.topK !== null && `topK: ${question.topK}`,
    question.threshold > 0 && `scoreThreshold: ${question.threshold}`,
  ].filter(Boolean);
  const target = JSON.stringify(call.secure ? `https://${call.host}` : call.host);
  const access = call.token ? ", { token: process.env.SED_TOKEN }" : "";
  const more = options.length > 0 ? `, { ${options.join(", ")} }` : "";
  return `import { Client } from "sed-serve-client";

const client = new Client(${target}${access});
const words = ${words};
const found = await client.segment(${JSON.stringify(call.file)}, words${more});
for (const { name, pixels, areaShare, meanScore } of found.categories)
  if (pixels > 0) console.log(\`\${name}: \${(100 * areaShare).toFixed(1)} %, score \${meanScore.toFixed(2)}\`);
client.close();
`;
}

function word(phrases: Word): string {
  return phrases.length === 1
    ? JSON.stringify(phrases[0])
    : `[${phrases.map((one) => JSON.stringify(one)).join(", ")}]`;
}
