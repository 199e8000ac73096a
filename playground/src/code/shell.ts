import { create, toJsonString } from "@bufbuild/protobuf";
import { SegmentRequestSchema } from "../generated/sed/v1/segmentation_service_pb";
import { vocabularyOf } from "../rpc/request";
import { type Call, path, quoted } from "./call";

/** The request with `sed-serve segment`. The command reads a token from `SED_TOKEN` by itself. */
export function commandLine({ question, file, host, secure }: Call): string {
  const words = question.words.map((word) => word.join("|")).join(", ");
  const flags = [
    question.vocabulary ? `--vocabulary ${quoted(question.vocabulary)}` : `--words=${quoted(words)}`,
    question.synonyms === "best" && "--synonyms best",
    question.contrast === "automatic" && "--contrast auto",
    question.contrast === "off" && "--contrast off",
    question.topK !== null && `--top-k ${question.topK}`,
    question.threshold > 0 && `--threshold ${question.threshold}`,
    `--server ${secure ? "https" : "http"}://${host}`,
  ].filter(Boolean);
  return `sed-serve segment ${quoted(path(file))} \\\n  ${flags.join(" \\\n  ")}\n`;
}

/** The request with grpcurl, which learns the interface by reflection. */
export function grpcurl({ question, file, host, secure, token }: Call): string {
  const request = create(SegmentRequestSchema, {
    image: { source: { case: "encoded", value: new Uint8Array() } },
    vocabulary: vocabularyOf(question),
    options: {
      topK: question.topK ?? undefined,
      scoreThreshold: question.threshold > 0 ? question.threshold : undefined,
    },
  });
  // A format of printf, whose one %s is the picture.
  const json = toJsonString(SegmentRequestSchema, request).replaceAll("\\", "\\\\").replaceAll("%", "%%");
  const format = json.replace('"encoded":""', '"encoded":"%s"').replaceAll("'", "'\\''");
  const flags = [
    !secure && "-plaintext",
    token && '-H "authorization: Bearer $SED_TOKEN"',
    "-max-msg-sz 134217728",
    `-d @ ${host}`,
  ].filter(Boolean);
  return `printf '${format}' \\
  "$(base64 < ${quoted(path(file))} | tr -d '\\n')" |
  grpcurl ${flags.join(" ")} sed.v1.SegmentationService/Segment
`;
}
