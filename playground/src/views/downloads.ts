import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Asking } from "../asking";
import { coco } from "../code/coco";
import { h, place } from "../dom";
import { MaskEncoding, type SegmentOptionsSchema } from "../generated/sed/v1/options_pb";
import type { SegmentResponse } from "../generated/sed/v1/segmentation_service_pb";
import { problemOf } from "../rpc/problem";
import { exportRequest } from "../rpc/request";
import type { Server } from "../rpc/server";
import type { Store } from "../state";

/** A file to download. */
interface Download {
  title: string;
  /** The end of the file's name. */
  ending: string;
  kind: string;
  /** The picture's bytes are needed, not only its id. */
  bytes: boolean;
  options: (opacity: number) => MessageInitShape<typeof SegmentOptionsSchema>;
  content: (response: SegmentResponse, file: string) => BlobPart | undefined;
}

const DOWNLOADS: readonly Download[] = [
  {
    title: "Mask PNG",
    ending: "mask.png",
    kind: "image/png",
    bytes: false,
    options: () => ({ maskEncodings: [MaskEncoding.INDEX_PNG] }),
    content: ({ masks }) => (masks[0]?.content.value instanceof Uint8Array ? part(masks[0].content.value) : undefined),
  },
  {
    title: "Overlay PNG",
    ending: "overlay.png",
    kind: "image/png",
    bytes: true,
    options: (opacity) => ({ maskEncodings: [MaskEncoding.INDEX_PNG], overlay: { opacity } }),
    content: ({ overlayPng }) => part(overlayPng),
  },
  {
    title: "COCO JSON",
    ending: "coco.json",
    kind: "application/json",
    bytes: false,
    options: () => ({ maskEncodings: [MaskEncoding.COCO_RLE] }),
    content: coco,
  },
];

/** Shows the files that the server makes of the answer, at the picture's own size, and the picture itself. */
export function downloads(store: Store, server: Server, asking: Asking): void {
  const fetchOne = async ({ options, bytes, content, kind, ending }: Download) => {
    const { picture, opacity } = store.now;
    if (!picture) return;
    try {
      const id = bytes ? "" : asking.idOf(picture);
      const response = await server.segment(exportRequest(store.now, picture, id, options(opacity)));
      const stem = picture.name.replace(/\.\w+$/, "") || "picture";
      save(content(response, picture.name), kind, `${stem}.${ending}`);
    } catch (error) {
      store.set({ phase: { kind: "failed", problem: problemOf(error) } });
    }
  };
  const own = () => {
    const { picture } = store.now;
    if (picture) save(part(picture.bytes), "application/octet-stream", picture.name || "picture");
  };
  const buttons = DOWNLOADS.map((one) => h("button", { type: "button", onclick: () => void fetchOne(one) }, one.title));
  buttons.push(h("button", { type: "button", onclick: own }, "The picture"));
  place("code").append(h("h3", {}, "Download"), h("div", { class: "line", id: "downloads" }, ...buttons));
  store.watch(["answer"], ({ answer }) => {
    for (const button of buttons) button.disabled = !answer;
  });
}

function save(content: BlobPart | undefined, type: string, name: string): void {
  if (content === undefined) return;
  const url = URL.createObjectURL(new Blob([content], { type }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

function part(bytes: Uint8Array): BlobPart {
  return bytes as Uint8Array<ArrayBuffer>;
}
