"""The one thing that replicas share: a folder of text embeddings."""

import hashlib
import json
import pathlib

from client import calls_of
from knowledge import part_of_street
from processes import Replica, check, until
from questions import request, words

PHRASES = ["a lantern of paper", "a rope bridge", "wet cobblestones", "a rusty weathercock", "an inkwell", "a sundial"]
READS, WRITES, DAMAGED = (f"sed_text_store_{what}_total" for what in ["reads", "writes", "damaged"])
COMPUTED = ("sed_stage_duration_seconds_count", '{stage="text_embedding"}')


def embeddings(folder: pathlib.Path) -> set[pathlib.Path]:
    """The files of the folder; each holds one phrase, by its tokens."""
    return set(folder.glob("*.text"))


def damage(files: list[pathlib.Path]) -> None:
    """Each file in another way, as a full disk, a cut connection, a bad copy or a faulty program leave them."""
    for number, file in enumerate(files):
        whole = file.read_bytes()
        wrong_bit = whole[:-1] + bytes([whole[-1] ^ 1])
        damages = [b"", whole[: len(whole) // 2], wrong_bit, b"?" * len(whole), whole + b"?", too_short(whole)]
        file.write_bytes(damages[number])


def too_short(whole: bytes) -> bytes:
    """A file that is sound, of an embedding that is a number shorter than the model's."""
    magic, length = whole[:8], int.from_bytes(whole[8:12], "little")
    header, embedding = json.loads(whole[12 : 12 + length]), whole[12 + length : -4]
    header |= {"bytes": len(embedding), "sha256": hashlib.sha256(embedding).hexdigest()}
    written = json.dumps(header, separators=(",", ":")).encode()
    return magic + len(written).to_bytes(4, "little") + written + embedding


def shared_embeddings(replicas: list[Replica], late: Replica, folder: pathlib.Path) -> str:
    """A replica reads the embeddings that another has written; damaged ones are detected, computed again and
    replaced."""
    one, two, three = replicas
    message = request(words(PHRASES), encoded=part_of_street(40))
    number = len(PHRASES)

    def ask(replica: Replica, counter: str) -> bytes:
        """The mask of a replica that has to read or write every phrase for it."""
        before = replica.metric(counter)
        mask = calls_of(replica.address).Segment(message).masks[0].index_png
        until(f"{replica.name} counts {number} in {counter}", lambda: replica.metric(counter) == before + number)
        return bytes(mask)

    others = embeddings(folder)
    computed = one.metric(*COMPUTED)
    mask = ask(one, WRITES)
    check(one.metric(*COMPUTED) > computed, "nothing was computed, but written")
    computed = two.metric(*COMPUTED)
    check(ask(two, READS) == mask, "different masks from embeddings that were read")
    check(two.metric(*COMPUTED) == computed, "computed what another replica had written")

    files = sorted(embeddings(folder) - others)
    check(len(files) == number, f"{len(files)} files hold {number} phrases")
    sound = [file.read_bytes() for file in files]
    damage(files)
    damaged = three.metric(DAMAGED)
    check(ask(three, WRITES) == mask, "different masks with damaged files")
    check(three.metric(DAMAGED) == damaged + number, "a damaged file was not counted")
    check([file.read_bytes() for file in files] == sound, "a damaged file was not healed")
    check(ask(late, READS) == mask and late.metric(DAMAGED) == 0, "a later replica does not read what was healed")
    return f"{number} phrases: written by one, read by two, {number} damaged files healed by three, read by a fourth"
