import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { MaskEncoding, OutputSizePreset, type SegmentOptionsSchema } from "../generated/sed/v1/options_pb";
import { type SegmentRequest, SegmentRequestSchema } from "../generated/sed/v1/segmentation_service_pb";
import { type ContrastSchema, SynonymMode, type Vocabulary, VocabularySchema } from "../generated/sed/v1/vocabulary_pb";
import type { Picture } from "../picture/picture";
import type { Question } from "../state";

/** The longer side of the masks that are drawn, in pixels. Downloads have the picture's own size. */
const DRAWN_SIDE = 640;

/** Fewer words than this need contrast words: the command line's rule. */
const FEW_WORDS = 5;

const CONTRASTS: Record<ReturnType<typeof contrastOf>, MessageInitShape<typeof ContrastSchema> | undefined> = {
  automatic: { source: { case: "automatic", value: {} } },
  off: {},
  kept: undefined,
};

type Options = MessageInitShape<typeof SegmentOptionsSchema>;

/** The planes that the page draws: index map, score, runner-up and margin. */
const PLANES = [MaskEncoding.INDEX_PNG, MaskEncoding.SCORE_PNG, MaskEncoding.RUNNER_UP_PNG, MaskEncoding.MARGIN_PNG];

/** Builds the request for what the page draws. With `id` the picture stays here: the server has its features. */
export function drawnRequest(question: Question, picture: Picture, id: string): SegmentRequest {
  return build(question, picture, id, {
    maskEncodings: PLANES,
    outputSize: drawnSize(picture),
    listRejected: true,
    reportAmbiguities: true,
  });
}

/** Builds the request for a download: masks of the picture's own size. */
export function exportRequest(question: Question, picture: Picture, id: string, options: Options): SegmentRequest {
  return build(question, picture, id, options);
}

/** Builds the request for a frame of the camera: only what is drawn at once. */
export function frameRequest(question: Question, frame: Picture): SegmentRequest {
  return build(question, frame, "", { maskEncodings: [MaskEncoding.INDEX_PNG], listRejected: true });
}

/** The contrast words that a question asks for: `kept` leaves a named vocabulary its own. */
export function contrastOf(question: Question): "automatic" | "off" | "kept" {
  if (question.contrast !== "needed") return question.contrast;
  return !question.vocabulary && question.words.length < FEW_WORDS ? "automatic" : "kept";
}

/** The words of a question as the interface has them. */
export function vocabularyOf(question: Question): Vocabulary {
  const categories = question.words.map(([name, ...synonyms]) => ({ name, synonyms }));
  return create(VocabularySchema, {
    source: question.vocabulary
      ? { case: "name", value: question.vocabulary }
      : { case: "categories", value: { categories } },
    synonymMode: question.synonyms === "best" ? SynonymMode.BEST : SynonymMode.UNSPECIFIED,
    contrast: CONTRASTS[contrastOf(question)],
  });
}

function build(question: Question, picture: Picture, id: string, options: Options): SegmentRequest {
  return create(SegmentRequestSchema, {
    image: { source: id ? { case: "id", value: id } : { case: "encoded", value: picture.bytes } },
    vocabulary: vocabularyOf(question),
    options: {
      topK: question.topK ?? undefined,
      scoreThreshold: question.threshold > 0 ? question.threshold : undefined,
      ...options,
    },
  });
}

/** The size of the drawn masks; a picture that the browser cannot show has its own. */
function drawnSize({ width, height }: Picture): Options["outputSize"] {
  if (!width || !height) return { kind: { case: "preset", value: OutputSizePreset.ORIGINAL } };
  const scale = DRAWN_SIDE / Math.max(width, height);
  const exact = { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
  return { kind: { case: "exact", value: exact } };
}
