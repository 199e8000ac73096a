"""Replicas know nothing of each other's callers. Names and ids are made of content, so that the content can be sent to
any replica, which then answers the same."""

import io
from typing import Any

import grpc
from PIL import Image as Picture

from balancer import Balancer
from client import calls_of, reason
from processes import Replica, check
from questions import EXAMPLES, request, words

ROUNDS = 12  # through the balancer; enough that every replica is asked


def part_of_street(left: int) -> bytes:
    """A picture that no replica has seen."""
    file = io.BytesIO()
    Picture.open(EXAMPLES / "street.png").convert("RGB").crop((left, 0, left + 480, 480)).save(file, "PNG")
    return file.getvalue()


def answer_if_known(calls: Any, message: Any, reason_if_not: str) -> Any | None:
    """The answer; None where the replica does not know what the request refers to, and says so as designed."""
    try:
        return calls.Segment(message)
    except grpc.RpcError as error:
        as_designed = error.code() == grpc.StatusCode.NOT_FOUND and reason(error) == reason_if_not
        check(as_designed, f"not NOT_FOUND with {reason_if_not}, but {error}")
        return None


def through(balancer: Balancer, short: Any, whole: Any, reason_if_not: str, masks: Any) -> int:
    """Sends the short form of a request to whichever replica comes up, and the whole one where that replica does not
    know what it stands for: how often that was. Neither depends on where it arrives."""
    calls = calls_of(balancer.address)
    sent_whole = 0
    for _ in range(ROUNDS):
        answer = answer_if_known(calls, short, reason_if_not)
        if answer is None:
            answer = calls.Segment(whole)
            sent_whole += 1
        check(answer.masks == masks, "different masks through the balancer")
    check(0 < sent_whole < ROUNDS, f"{sent_whole} of {ROUNDS} had to be sent whole")
    return sent_whole


def named_vocabularies(replicas: list[Replica], balancer: Balancer) -> str:
    """Registered at one replica: unknown at the others until they are told, and then the same under the same name."""
    from sed.v1 import vocabulary_pb2 as vocabulary

    one, two, three = (calls_of(replica.address) for replica in replicas)
    inline = words(["sky", "road", "a red car", "house", "tree"])
    create = vocabulary.CreateVocabularyRequest(categories=inline.categories)
    name = one.CreateVocabulary(create).vocabulary.name
    whole = request(inline, encoded=part_of_street(0))
    by_name = request(vocabulary.Vocabulary(name=name), encoded=part_of_street(0))
    masks = three.Segment(whole).masks
    check(one.Segment(by_name).masks == masks, "different masks by name and by words")

    expected = "VOCABULARY_NOT_FOUND"
    check(answer_if_known(two, by_name, expected) is None, "a replica knows a name that it was not told")
    told = two.CreateVocabulary(create)
    check(told.vocabulary.name == name and not told.existed, "another name on another replica")
    check(two.Segment(by_name).masks == masks, "different masks by name on another replica")
    # Not CreateVocabulary, which may reach one replica and the next request another: the words themselves.
    sent_whole = through(balancer, by_name, whole, expected, masks)
    return f"name known to 2 of 3: {sent_whole} of {ROUNDS} requests got {expected} and sent the words; same masks"


def image_ids(replicas: list[Replica], balancer: Balancer) -> str:
    """The id of a picture is known where its bytes were sent."""
    one, two = (calls_of(replica.address) for replica in replicas[:2])
    whole = request(words(["building", "asphalt", "lamp"]), encoded=part_of_street(80))
    first = one.Segment(whole)
    by_id = request(whole.vocabulary, id=first.image_id)
    answer = one.Segment(by_id)
    check(answer.latency.image_cache_hit and answer.masks == first.masks, "not the same picture by its id")

    expected = "IMAGE_NOT_FOUND"
    check(answer_if_known(two, by_id, expected) is None, "a replica knows a picture that it was not sent")
    again = two.Segment(whole)
    check(again.image_id == first.image_id, "another id on another replica")
    check(again.masks == two.Segment(by_id).masks == first.masks, "different masks on another replica")
    sent_whole = through(balancer, by_id, whole, expected, first.masks)
    return f"id known to 2 of 3: {sent_whole} of {ROUNDS} requests got {expected} and sent the bytes; same masks"
