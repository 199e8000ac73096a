// Answers that say how sure they are, of a running server: scores, runner-up and margins, ambiguities, thresholds of
// categories, contrast words, synonym modes, and words that are prepared.
//
// node sureness.mjs HOST:PORT QUESTION    the server must hold the reduced model

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { Client, InvalidRequest, NotFound } from "sed-serve-client";

const [target, questionFile] = process.argv.slice(2);
const question = JSON.parse(readFileSync(questionFile, "utf8"));
const words = question.categories;
const picture = readFileSync(resolve(dirname(questionFile), question.image));
const client = new Client(target);
const SURE = { confidence: true, runnerUp: true, margin: true };
const ROUNDING = 2 ** -11; // of 16 bit floats below 1

// The arrays fit each other, the mask and the categories' mean scores.
const plain = await client.segment(picture, words, { topK: 0 });
const found = await client.segment(picture, words, { topK: 0, reportAmbiguities: true, ...SURE });
assert.deepEqual(found.mask, plain.mask);
for (const plane of [found.confidence, found.runnerUp, found.margin]) assert.equal(plane.length, found.mask.length);
const sums = words.map(() => 0);
found.mask.forEach((index, pixel) => {
  const [score, margin, second] = [found.confidence[pixel], found.margin[pixel], found.runnerUp[pixel]];
  assert(score > 0 && score < 1 && margin >= 0 && margin <= score + ROUNDING);
  assert(second !== index && second < words.length, "nothing was rejected");
  sums[index] += score;
});
for (const { index, pixels, meanScore } of found.categories) {
  if (pixels > 0) assert(Math.abs(sums[index] / pixels - meanScore) < ROUNDING);
}
const two = await client.segment(picture, words.slice(0, 2), { topK: 0, runnerUp: true });
assert.deepEqual(two.runnerUp, two.mask.map((index) => 1 - index), "of two categories the other one is second");
const one = await client.segment(picture, words.slice(0, 1), SURE);
assert(one.runnerUp.every((index) => index === one.unlabelledIndex));
assert.deepEqual(one.margin, one.confidence);
for await (const item of client.segmentStream([picture], words, { topK: 0, margin: true })) {
  assert.deepEqual(item.found.margin, found.margin);
}

// The report of ambiguities is what the arrays say.
assert(found.ambiguities.length > 0 && found.ambiguities.length <= 16);
for (const { names, indices, pixels, areaShare, meanMargin, textSimilarity } of found.ambiguities) {
  let [unsure, onTheEdge] = [0, 0];
  found.mask.forEach((index, pixel) => {
    const pair = [index, found.runnerUp[pixel]].sort((one, other) => one - other);
    if (pair[0] !== indices[0] || pair[1] !== indices[1]) return;
    unsure += Number(found.margin[pixel] < 0.1);
    onTheEdge += Number(Math.abs(found.margin[pixel] - 0.1) <= ROUNDING);
  });
  assert(Math.abs(pixels - unsure) <= onTheEdge, `${pixels} ${unsure}`);
  assert(Math.abs(areaShare - pixels / found.mask.length) < 1e-6 && areaShare >= 0.01);
  assert(meanMargin >= 0 && meanMargin < 0.1 && Math.abs(textSimilarity) <= 1);
  assert.deepEqual(names, indices.map((index) => words[index][0]));
}

// Thresholds of categories, by name and by index.
const largest = found.categories.reduce((most, one) => (one.pixels > most.pixels ? one : most));
const scores = found.confidence.filter((_, pixel) => found.mask[pixel] === largest.index).sort();
const threshold = scores[scores.length >> 1];
const byName = await client.segment(picture, words, { topK: 0, categoryThresholds: { [largest.name]: threshold } });
const byIndex = await client.segment(picture, words, { topK: 0, categoryThresholds: new Map([[largest.index, threshold]]) });
assert.deepEqual(byIndex.mask, byName.mask);
byName.mask.forEach((index, pixel) => {
  if (Math.abs(found.confidence[pixel] - threshold) <= ROUNDING) return;
  const fails = found.mask[pixel] === largest.index && found.confidence[pixel] < threshold;
  assert.equal(index, fails ? byName.unlabelledIndex : found.mask[pixel]);
});
assert(byName.unlabelledPixels > 0);
await assert.rejects(client.segment(picture, words, { categoryThresholds: { "no such word": 0.5 } }), (error) => {
  return error instanceof InvalidRequest && error.field.startsWith("options.category_thresholds[0]");
});

// Contrast words do what the same words do as categories whose pixels are taken out.
const [asked, others] = [words.slice(0, 3), words.slice(3)];
const full = await client.segment(picture, words, { topK: 2 });
const without = full.mask.map((index) => (index < asked.length ? index : full.unlabelledIndex));
const { name } = await client.createVocabulary(others);
for (const contrast of [others, { vocabulary: name }]) {
  const answer = await client.segment(picture, asked, { topK: 2, contrast });
  assert.deepEqual(answer.mask, without);
  assert.deepEqual(answer.contrast, { names: others.map(([name]) => name), pixels: answer.unlabelledPixels });
  assert.equal(answer.categories.length, asked.length);
  answer.rejection.levels.forEach(({ candidates, contrastCandidates }, level) => {
    assert.equal(candidates + contrastCandidates, full.rejection.levels[level].candidates);
  });
}
await client.segment(picture, asked, { contrast: "auto" });
const both = await client.createVocabulary(asked, { contrast: others, synonyms: "best" });
assert.deepEqual([both.synonymMode, both.contrastSize, both.size], ["best", others.length, asked.length]);
const overridden = await client.segment(picture, { vocabulary: both.name }, { topK: 0, contrast: null, synonyms: "mean" });
assert.deepEqual(overridden.mask, (await client.segment(picture, asked, { topK: 0 })).mask);
assert.equal(overridden.contrast, undefined);
for (const known of [name, both.name]) await client.deleteVocabulary(known);

// The best of the synonyms is what they are as categories of their own, merged.
const owner = words.flatMap((names, index) => names.map(() => index));
const apart = await client.segment(picture, words.flat(), { topK: 0 });
const best = await client.segment(picture, words, { topK: 0, synonyms: "best" });
assert.deepEqual(best.mask, apart.mask.map((index) => owner[index]));

// Prepared words are known to the next request.
const fresh = ["narwhal", ["capybara", "water hog"], `${"u ".repeat(110)}tapir`];
const states = [];
const last = await client.prepareVocabulary(fresh, { onProgress: (state) => states.push(state) });
assert.deepEqual(states.at(-1), last);
assert.deepEqual([last.phrases, last.known, last.embedded, last.ready], [4, 0, 4, true]);
states.forEach(({ embedded }, number) => assert(number === 0 || embedded >= states[number - 1].embedded));
assert(last.replica !== "" && last.devices.length > 0 && last.devices.every(({ embedded }) => embedded === 4));
const cut = last.warnings.find(({ reason }) => reason === "PHRASE_CUT");
assert(Number(cut.metadata.tokens) > Number(cut.metadata.room));
assert.equal((await client.segment(picture, fresh)).timings.textCacheMisses, 0);
const named = await client.createVocabulary(fresh);
assert.equal((await client.prepareVocabulary({ vocabulary: named.name })).known, 4);
const known = await client.getVocabulary(named.name);
assert.deepEqual([known.phrases, known.embeddedPhrases, known.synonymMode], [4, 4, "mean"]);
await client.deleteVocabulary(named.name);
await assert.rejects(client.prepareVocabulary({ vocabulary: "no-such-list" }), NotFound);
assert((await client.serverInfo()).limits.maxPreparingPhrases > 0);

const [solid, faded] = [await client.segment(picture, words, { overlay: true }), await client.segment(picture, words, { overlay: "fade_unsure" })];
assert.notDeepEqual(solid.overlayPng, faded.overlayPng);
client.close();
console.log(`${found.ambiguities.length} ambiguities, thresholds, contrast words, synonyms and ${last.phrases} prepared phrases: all as it should be`);
