"""Words: many, long, or stored in files that cannot be read."""

import asyncio
import os
import time
from collections.abc import Callable

from sed_serve_client.v1 import options_pb2, vocabulary_pb2

from attacks.base import CREATE, SEGMENT, Attack, Target, together
from questions import known_words, picture, segment, words

# In a closed loop for so long, a request of an ordinary client has to be answered once.
RECOVERY = 5.0


def registration(names: list[str], *, embed: bool = False) -> bytes:
    """A vocabulary to register."""
    return vocabulary_pb2.CreateVocabularyRequest(categories=words(names).categories, embed=embed).SerializeToString()


async def complaint_unless_answered(target: Target, what: str, names: list[str], deadline: float) -> list[str]:
    """Asks an otherwise idle server until it answers, for as long as a client may be asked to wait."""
    end, statuses = time.monotonic() + RECOVERY, []
    while time.monotonic() < end:
        status = await target.ordinary_request(names, deadline)
        if status == 0:
            return []
        statuses.append(status)
        await asyncio.sleep(0.2)
    return [f"{what}: {len(statuses)} requests with a deadline of {deadline:g} s, none answered, status {statuses[-1]}"]


async def complaint_if_refused(target: Target, what: str, names: Callable[[], list[str]], deadline: float) -> list[str]:
    """The same for requests that must be admitted: the machine may be late, the server may not refuse."""
    end, refused = time.monotonic() + RECOVERY, 0
    while time.monotonic() < end:
        begun = time.monotonic()
        if await target.ordinary_request(names(), deadline) == 0 or time.monotonic() - begun > deadline / 2:
            return []
        refused += 1
        await asyncio.sleep(0.2)
    return [
        f"{what}: {refused} requests with a deadline of {deadline:.2f} s, twice the usual time, all refused at once"
    ]


class Registry(Attack):
    """One client that registers vocabularies without end."""

    name = "registry filled"
    seconds = 1.5
    in_turn = 8
    goal = ("answers", 1200)  # the default limit is 1000

    async def strike(self, target: Target) -> None:
        async with await target.connect() as connection:

            async def one() -> None:
                while True:
                    await connection.unary(CREATE, registration(target.new_phrases(2)))

            await together(one() for _ in range(self.in_turn))

    async def verify(self, target: Target) -> list[str]:
        async with await target.connect() as connection:
            answer = await connection.unary(CREATE, registration(known_words()))
        return [] if answer.status == 0 else [f"others can register no vocabulary any more: status {answer.status}"]


class ColdWords(Attack):
    """Clients that have large vocabularies embedded, one after the other."""

    name = "vocabularies of cold words"
    seconds = 4.0
    clients, phrases = 2, 400

    async def strike(self, target: Target) -> None:
        async with await target.connect() as connection:

            async def one() -> None:
                while True:
                    names = target.new_phrases(self.phrases)
                    await connection.unary(CREATE, registration(names, embed=True))

            await together(one() for _ in range(self.clients))


class LongPhrases(Attack):
    """Requests with phrases as long as they may be; short ones must not be judged by them."""

    name = "long phrases"
    seconds = 4.0
    phrases, short = 1000, 24
    fresh = True

    async def prepare(self, target: Target) -> None:
        self.usual = await target.usual_seconds(lambda: target.new_phrases(self.short))

    async def strike(self, target: Target) -> None:
        names = [target.new_phrase(250) for _ in range(self.phrases)]
        message = segment(picture(), names, priority=options_pb2.PRIORITY_LOW).SerializeToString()
        async with await target.connect() as connection:
            await connection.unary(SEGMENT, message)

    async def verify(self, target: Target) -> list[str]:
        def names() -> list[str]:
            return target.new_phrases(self.short)

        return await complaint_if_refused(target, "short new words after long ones", names, 2 * self.usual)


class UnreadableFile(Attack):
    """Requests whose words are stored in a file that hangs when it is opened, or never ends."""

    seconds = 2.0
    clients = 2

    def __init__(self, name: str, phrase: str, *, endless: bool) -> None:
        self.name, self.phrase, self.memory = name, phrase, endless

    async def plant(self, target: Target) -> None:
        """Has the phrase stored by a running server, and puts the bad file into the place of the good one. The server
        has to be started again, because it knows the phrase now."""
        stored = set(target.server.text.iterdir())
        status = await target.ordinary_request([self.phrase], 30.0)
        async with asyncio.timeout(10):
            while not (new := set(target.server.text.glob("*.text")) - stored):
                await asyncio.sleep(0.05)
        if status != 0 or len(new) != 1:
            raise RuntimeError(f"`{self.phrase}` was answered with {status} and is in {len(new)} files")
        path = new.pop()
        path.unlink()
        if self.memory:
            path.symlink_to("/dev/zero")
        else:
            os.mkfifo(path)

    async def strike(self, target: Target) -> None:
        await together(target.ordinary_request([self.phrase], 2.0) for _ in range(self.clients))

    async def verify(self, target: Target) -> list[str]:
        others = [target.new_phrase()]
        return [
            *await complaint_unless_answered(target, "other new words while one's file cannot be read", others, 2.0),
            *await complaint_unless_answered(target, "the words whose file cannot be read", [self.phrase], 2.0),
        ]


UNREADABLE = [
    UnreadableFile("hung file in the text folder", "kepoti", endless=False),
    UnreadableFile("endless file in the text folder", "lumaro", endless=True),
]
ATTACKS: list[Attack] = [Registry(), ColdWords(), LongPhrases(), *UNREADABLE]
