"""Load in which every call should be answered: mixed vocabularies, known and unknown words, pictures that come again,
streams, words that are prepared, and the calls about vocabularies."""

import random
import threading

import client as api
from client import Client, pb, vocabulary_pb2


def worker(client: Client, seed: int, calls: int, failures: list[BaseException]) -> None:
    """A closed loop of calls that the seed chooses."""
    chosen = random.Random(seed)
    try:
        last = None
        for _ in range(calls):
            vocabulary = chosen.choice(
                [
                    api.named(chosen.choice(api.BUILT_IN)),
                    api.words(chosen.sample(["cat", "dog", "sky", "grass", "tree", "road", "house", "sofa"], 5)),
                    api.cold_words(chosen, chosen.randint(1, 4)),
                ]
            )
            again = last is not None and chosen.random() < 0.4
            image = api.image_pb2.Image(id=last) if again else api.picture(chosen.randrange(100))
            priority = chosen.choice(list(api.options_pb2.Priority.values()))
            made = api.request(image, vocabulary, chosen.choice([None, 0, 1, 16]), priority=priority)
            answer, reason = client.segment(made)
            assert answer or reason == "image_not_found", reason  # it may have made room for another
            last = answer.image_id if answer else None
    except BaseException as error:
        failures.append(error)


def vocabularies(client: Client) -> None:
    """All calls but those for masks, once each."""
    client.call("GetServerInfo", pb.GetServerInfoRequest())
    categories = api.words(["harbour", "crane", "lighthouse"]).categories
    made = client.call("CreateVocabulary", vocabulary_pb2.CreateVocabularyRequest(categories=categories)).vocabulary
    client.call("GetVocabulary", vocabulary_pb2.GetVocabularyRequest(name=made.name))
    client.call("ListVocabularies", vocabulary_pb2.ListVocabulariesRequest())
    client.call("DeleteVocabulary", vocabulary_pb2.DeleteVocabularyRequest(name=made.name))


def run(client: Client, workers: int = 4, calls: int = 40) -> None:
    failures: list[BaseException] = []
    threads = [threading.Thread(target=worker, args=(client, seed, calls, failures)) for seed in range(workers)]
    for thread in threads:
        thread.start()
    vocabularies(client)
    refused = client.stream([api.request(api.picture(number), api.named("pascal-voc-20")) for number in range(12)])
    assert not refused, refused
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    # When nothing else runs, or it would take twenty times as long.
    client.prepare(api.cold_words(random.Random(workers), 60))
