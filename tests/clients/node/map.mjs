// The client's answer to the question that all clients are asked, and what it makes of a bad request.
//
// node map.mjs HOST:PORT QUESTION FILE    writes the index map: 16 bits, little endian, row by row

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { Client, InvalidRequest } from "sed-serve-client";

const [target, questionFile, mapFile] = process.argv.slice(2);
const question = JSON.parse(readFileSync(questionFile, "utf8"));
const picture = resolve(dirname(questionFile), question.image);

const client = new Client(target);
const { mask } = await client.segment(picture, question.categories, { topK: question.top_k, resize: question.resize });
const bytes = Buffer.alloc(2 * mask.length);
mask.forEach((index, pixel) => bytes.writeUInt16LE(index, 2 * pixel));
writeFileSync(mapFile, bytes);
assert(new Set(mask).size > 1);

const error = await client.segment(picture, ["cat", "dog", "CAT"]).then(() => assert.fail("accepted"), (error) => error);
assert(error instanceof InvalidRequest);
assert.equal(error.reason, "CATEGORY_DUPLICATE");
assert.equal(error.field, "vocabulary.categories.categories[2].name");
console.log("refused as it should be:", error.reason, "in", error.field);
client.close();
