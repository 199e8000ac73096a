import type { SegmentResponse } from "../generated/sed/v1/segmentation_service_pb";

/** Writes an answer with run lengths as a COCO data set of one image. */
export function coco(response: SegmentResponse, file: string): string {
  const { width = 0, height = 0 } = response.maskSize ?? {};
  const content = response.masks[0]?.content;
  const masks = content?.case === "rle" ? content.value.masks : [];
  const annotations = masks.map(({ categoryIndex, counts }, at) => {
    const category = response.categories[categoryIndex];
    const box = category?.boundingBox;
    return {
      id: at + 1,
      image_id: 1,
      category_id: categoryIndex + 1,
      segmentation: { size: [height, width], counts: new TextDecoder().decode(counts) },
      area: Number(category?.pixels ?? 0n),
      bbox: box ? [box.x, box.y, box.width, box.height] : [0, 0, 0, 0],
      iscrowd: 1,
    };
  });
  const categories = response.categories.map(({ index, name }) => ({ id: index + 1, name }));
  return JSON.stringify({ images: [{ id: 1, file_name: file, width, height }], categories, annotations });
}
