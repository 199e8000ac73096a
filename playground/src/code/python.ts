import type { Word } from "../words";
import type { Call } from "./call";

/** The request with the Python client of clients/python. */
export function python(call: Call): string {
  const { question, contrast } = call;
  const options = [
    question.vocabulary ? `vocabulary=${text(question.vocabulary)}` : `[${question.words.map(word).join(", ")}]`,
    question.synonyms === "best" && 'synonyms="best"',
    contrast === "automatic" && 'contrast="auto"',
    contrast === "off" && "contrast=None",
    question.topK !== null && `top_k=${question.topK}`,
    question.threshold > 0 && `score_threshold=${question.threshold}`,
  ].filter(Boolean);
  const target = text(call.secure ? `https://${call.host}` : call.host);
  const token = call.token ? ', token=os.environ["SED_TOKEN"]' : "";
  return `${call.token ? "import os\n\n" : ""}from sed_serve_client import Client

with Client(${target}${token}) as client:
    found = client.segment(
        ${text(call.file)},
        ${options.join(",\n        ")},
    )
    for category in found.present:
        print(f"{category.name}: {category.area_share:.1%}, score {category.mean_score:.2f}")
`;
}

function word(phrases: Word): string {
  return phrases.length === 1 ? text(phrases[0] ?? "") : `[${phrases.map(text).join(", ")}]`;
}

/** A string of JSON is one of Python, too. */
function text(value: string): string {
  return JSON.stringify(value);
}
