"""Answers that say how sure they are, of a running server: scores, runner-up and margins, ambiguities, thresholds of
categories, contrast words, synonym modes, and words that are prepared.

python sureness.py HOST:PORT    the server must hold the reduced model
"""

import json
import pathlib
import sys

import numpy as np
from sed_serve_client import Client, InvalidRequest, NotFound, Preparation, Segmentation

from moody import refused

CLIENTS = pathlib.Path(__file__).resolve().parents[1]
SURE = {"confidence": True, "runner_up": True, "margin": True}
# Scores and margins travel as 16 bit floats, which are this near below 1.
ROUNDING = 2**-11
# The rule of ambiguities: margins below this are small, shares of the mask from this on noticeable, and so many listed.
SMALL, NOTICEABLE, MOST = 0.1, 0.01, 16


def main() -> None:
    """Asks for everything."""
    question = json.loads((CLIENTS / "question.json").read_text())
    picture, words = (CLIENTS / question["image"]).read_bytes(), question["categories"]
    with Client(sys.argv[1]) as client:
        found = planes(client, picture, words)
        ambiguities(found)
        thresholds(client, picture, words, found)
        contrast(client, picture, words)
        registered(client, picture, words)
        synonyms(client, picture, words)
        preparing(client, picture)
        faded(client, picture, words)


def planes(client: Client, picture: bytes, words: list[list[str]]) -> Segmentation:
    """The arrays fit each other, the mask and the categories' mean scores."""
    plain = client.segment(picture, words, top_k=0)
    found = client.segment(picture, words, top_k=0, report_ambiguities=True, **SURE)
    assert np.array_equal(found.mask, plain.mask), "the mask depends on what else is asked for"
    assert found.mask.shape == found.confidence.shape == found.runner_up.shape == found.margin.shape
    assert ((found.confidence > 0) & (found.confidence < 1)).all()
    assert ((found.margin >= 0) & (found.margin <= found.confidence + ROUNDING)).all()
    assert (found.runner_up != found.mask).all() and found.runner_up.max() < len(words), "nothing was rejected"
    for category in found.present:
        mean = float(found.confidence[found.mask_of(category.name)].mean())
        assert abs(mean - category.mean_score) < ROUNDING, (category, mean)
    raw = client.segment(picture, words, top_k=0, encoding="raw", **SURE)
    assert raw.runner_up.dtype == raw.mask.dtype == np.uint16
    assert all(np.array_equal(getattr(raw, name), getattr(found, name)) for name in ("mask", *SURE))

    one = client.segment(picture, words[:1], **SURE)
    assert (one.mask == 0).all() and (one.runner_up == one.unlabelled_index).all()
    assert np.array_equal(one.margin, one.confidence), "without a runner-up the margin is the score"
    (streamed,) = client.segment_stream([picture], words, top_k=0, margin=True)
    assert np.array_equal(streamed[1].margin, found.margin) and streamed[1].confidence is None
    print(
        f"scores {found.confidence.min():.2f} to {found.confidence.max():.2f}, margins up to {found.margin.max():.2f}"
    )
    return found


def ambiguities(found: Segmentation) -> None:
    """The report is what the arrays say."""
    pairs = np.sort(np.stack([found.mask, found.runner_up], axis=-1).astype(int), axis=-1)
    by_hand = {}
    for pair in np.unique(pairs.reshape(-1, 2), axis=0).tolist():
        of_pair = found.margin[(pairs == pair).all(axis=-1)]
        unsure = of_pair[of_pair < SMALL]
        on_the_edge = int((np.abs(of_pair - SMALL) <= ROUNDING).sum())
        by_hand[tuple(pair)] = (unsure, on_the_edge)
    for one in found.ambiguities:
        unsure, on_the_edge = by_hand[one.indices]
        assert one.indices[0] < one.indices[1]
        assert one.names == tuple(found.categories[index].name for index in one.indices)
        assert abs(one.pixels - unsure.size) <= on_the_edge, (one, unsure.size)
        assert abs(one.area_share - one.pixels / found.mask.size) < 1e-6
        assert abs(one.mean_margin - unsure.mean()) < ROUNDING + SMALL * on_the_edge / one.pixels
        assert one.text_similarity is not None and -1 <= one.text_similarity <= 1
    sizes = [one.pixels for one in found.ambiguities]
    assert sizes == sorted(sizes, reverse=True) and len(sizes) <= MOST
    least = NOTICEABLE * found.mask.size
    assert min(sizes) >= least
    missing = by_hand.keys() - {one.indices for one in found.ambiguities}
    largest = max((unsure.size - on_the_edge for unsure, on_the_edge in (by_hand[pair] for pair in missing)), default=0)
    assert largest < least or (len(sizes) == MOST and largest <= sizes[-1]), largest
    first = found.ambiguities[0]
    print(f"{len(sizes)} ambiguities, the largest: {' or '.join(first.names)}, {first.area_share:.0%} of the picture")


def thresholds(client: Client, picture: bytes, words: list[list[str]], plain: Segmentation) -> None:
    """Thresholds of categories unlabel what is below them, and override the general one."""
    largest = plain.present[0]
    ours = plain.mask_of(largest.name)
    threshold = float(np.median(plain.confidence[ours]))
    found = client.segment(picture, words, top_k=0, category_thresholds={largest.name: threshold}, confidence=True)
    by_index = client.segment(picture, words, top_k=0, category_thresholds={largest.index: threshold})
    assert np.array_equal(found.mask, by_index.mask)
    expected = np.where(ours & (plain.confidence < threshold), plain.unlabelled_index, plain.mask)
    differ = (found.mask != expected) & (np.abs(plain.confidence - threshold) > ROUNDING)
    assert not differ.any() and found.unlabelled_pixels > 0
    assert np.array_equal(found.confidence, plain.confidence), "scores are those before thresholds"
    alone = client.segment(picture, words, top_k=0, score_threshold=0.99, category_thresholds={largest.name: 0})
    assert np.array_equal(alone.mask, np.where(ours, largest.index, plain.unlabelled_index))
    for wrong in ({"no such word": 0.5}, {len(words): 0.5}, {0: 1.5}):
        error = refused(lambda wrong=wrong: client.segment(picture, words, category_thresholds=wrong), InvalidRequest)
        assert error.field.startswith("options.category_thresholds[0]"), error.field
    print(f"{largest.name} at {threshold:.2f}: {found.unlabelled_pixels} pixels below; by name and by index")


def contrast(client: Client, picture: bytes, words: list[list[str]]) -> None:
    """Contrast words do what the same words do as categories whose pixels are taken out."""
    asked, others = words[:3], words[3:]
    full = client.segment(picture, words, top_k=2, **SURE)
    found = client.segment(picture, asked, top_k=2, contrast=others, **SURE)
    ours = full.mask < len(asked)
    assert ours.any() and not ours.all()
    assert np.array_equal(found.mask, np.where(ours, full.mask, found.unlabelled_index))
    assert np.array_equal(found.confidence, full.confidence)
    known = full.runner_up < len(asked)
    assert np.array_equal(found.runner_up[ours], np.where(known, full.runner_up, found.unlabelled_index)[ours])
    assert np.array_equal(found.margin[ours], np.where(known, full.margin, full.confidence)[ours])
    assert [category.name for category in found.categories] == [names[0] for names in asked]
    assert found.contrast.names == tuple(names[0] for names in others)
    assert found.contrast.pixels == int((~ours).sum()) == found.unlabelled_pixels
    for part, whole in zip(found.rejection.levels, full.rejection.levels, strict=True):
        assert part.candidates + part.contrast_candidates == whole.candidates
        assert len(part.survivors) + part.contrast_survivors == len(whole.survivors)
        assert part.survivors == tuple(index for index in whole.survivors if index < len(asked))
    named = client.create_vocabulary(others)
    by_name = client.segment(picture, asked, top_k=2, contrast=named.name)
    assert np.array_equal(by_name.mask, found.mask) and by_name.contrast == found.contrast
    # The reduced model has no sense of what is near; which words are left is another test's question.
    chosen = client.segment(picture, asked, contrast="auto").contrast
    names = chosen.names if chosen else ()
    assert len(names) <= 64 and not {names[0] for names in asked} & set(names), names
    error = refused(lambda: client.segment(picture, asked, contrast="no-such-list"), NotFound)
    assert error.reason == "VOCABULARY_NOT_FOUND", error
    print(f"{len(others)} contrast words take {found.contrast.pixels} pixels; auto: {len(names)} words")


def registered(client: Client, picture: bytes, words: list[list[str]]) -> None:
    """Contrast words and the synonym mode are part of a registered vocabulary and of its name."""
    asked, others = words[:3], words[3:]
    plain = client.create_vocabulary(asked)
    named = client.create_vocabulary(asked, contrast=others, synonyms="best")
    assert named.name != plain.name
    assert (plain.synonym_mode, plain.contrast_size) == ("mean", 0)
    assert (named.synonym_mode, named.contrast_size, named.size) == ("best", len(others), len(asked))
    assert plain.phrases == sum(map(len, asked)) and named.phrases == sum(map(len, words))
    full = client.segment(picture, asked, top_k=0, contrast=others, synonyms="best")
    same = client.segment(picture, vocabulary=named.name, top_k=0)
    assert np.array_equal(same.mask, full.mask) and same.contrast == full.contrast
    without = client.segment(picture, vocabulary=named.name, top_k=0, contrast=None, synonyms="mean")
    assert np.array_equal(without.mask, client.segment(picture, asked, top_k=0).mask) and without.contrast is None
    for vocabulary in (plain, named):
        client.delete_vocabulary(vocabulary.name)
    print("registered with contrast words and synonyms: the same, and overridden by a request")


def synonyms(client: Client, picture: bytes, words: list[list[str]]) -> None:
    """The best of the synonyms is what they are as categories of their own, merged."""
    apart = client.segment(picture, [phrase for names in words for phrase in names], top_k=0, **SURE)
    owner = np.array([index for index, names in enumerate(words) for _ in names])
    best = client.segment(picture, words, top_k=0, synonyms="best", **SURE)
    assert np.array_equal(best.mask, owner[apart.mask])
    assert np.array_equal(best.confidence, apart.confidence)
    assert (best.runner_up != best.mask).all() and (best.margin >= apart.margin).all()
    mean, plain = (client.segment(picture, words, top_k=0, **mode) for mode in ({"synonyms": "mean"}, {}))
    assert np.array_equal(mean.mask, plain.mask)
    rejected = client.segment(picture, words, top_k=2, synonyms="best")
    assert all(len(level.survivors) <= level.candidates <= len(words) for level in rejection(rejected))
    different = int((best.mask != mean.mask).sum())
    print(f"best of the synonyms: {different} of {best.mask.size} pixels differ from their mean")


def rejection(found: Segmentation) -> tuple:
    """The levels of the report."""
    assert len(found.rejection.levels) == 3
    return found.rejection.levels


def preparing(client: Client, picture: bytes) -> None:
    """Prepared words are known to the next request."""
    fresh = ["pangolin", ["axolotl", "mexican salamander"], "okapi", 110 * "o " + "quokka"]
    states: list[Preparation] = []
    last = client.prepare_vocabulary(fresh, states.append)
    assert states[-1] == last and last.ready
    assert (last.phrases, last.known, last.embedded) == (5, 0, 5), states
    assert all(not one.ready and one.embedded <= other.embedded for one, other in zip(states, states[1:], strict=False))
    assert last.replica and last.devices and {embedded for _, embedded in last.devices} == {5}
    (cut,) = (warning for warning in last.warnings if warning.reason == "PHRASE_CUT")
    assert int(cut.metadata["tokens"]) > int(cut.metadata["room"]) > 0, cut
    for warning in last.warnings:
        if warning.reason == "CATEGORIES_ALIKE":
            assert {"similarity", "threshold", "first", "second"} <= warning.metadata.keys(), warning
    assert client.segment(picture, fresh).timings.text_cache_misses == 0

    again = client.prepare_vocabulary(fresh, timeout=30)
    assert (again.known, again.embedded, again.ready) == (5, 5, True)
    named = client.create_vocabulary(fresh)
    assert client.prepare_vocabulary(named.name).known == 5
    for known in (client.get_vocabulary(named.name), *client.list_vocabularies()):
        assert 0 <= known.embedded_phrases <= known.phrases >= known.size, known
        if known.name == named.name:
            assert (known.phrases, known.embedded_phrases) == (5, 5)
    client.delete_vocabulary(named.name)
    assert refused(lambda: client.prepare_vocabulary([]), InvalidRequest).reason == "VOCABULARY_EMPTY"
    assert refused(lambda: client.prepare_vocabulary("no-such-list"), NotFound).reason == "VOCABULARY_NOT_FOUND"
    assert client.server_info().limits.max_preparing_phrases > 0
    print(f"prepared {last.embedded} phrases in {len(states)} states on {last.replica}")


def faded(client: Client, picture: bytes, words: list[list[str]]) -> None:
    """An overlay whose colours fade is another one of the same size."""
    plain, fading = (
        client.segment(picture, words, overlay=how).overlay().convert("RGB") for how in (True, "fade_unsure")
    )
    assert plain.size == fading.size and np.any(np.asarray(plain) != np.asarray(fading)), "nothing is faded"


if __name__ == "__main__":
    main()
