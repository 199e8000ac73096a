"""The asyncio client: the same answers as the other one, many at once.

python asynchronous.py HOST:PORT
"""

import asyncio
import json
import pathlib
import sys

import numpy as np
from sed_serve_client import AsyncClient, Client, InvalidRequest, NotFound, Request, Segmentation

CLIENTS = pathlib.Path(__file__).resolve().parents[1]


async def main() -> None:
    """Calls everything once, and Segment eight times at once."""
    question = json.loads((CLIENTS / "question.json").read_text())
    picture, words = (CLIENTS / question["image"]).read_bytes(), question["categories"]
    with Client(sys.argv[1]) as client:
        expected = client.segment(picture, words, top_k=2)
    async with AsyncClient(sys.argv[1]) as client:
        answers = await asyncio.gather(*(client.segment(picture, words, top_k=2) for _ in range(8)))
        assert all(np.array_equal(answer.mask, expected.mask) for answer in answers)
        assert (await client.server_info()).model.name == expected.model_name
        sure = await client.segment(picture, words, top_k=2, margin=True, contrast=["wall clock"], synonyms="best")
        assert sure.margin.shape == sure.mask.shape and sure.contrast.names == ("wall clock",)
        states = []
        prepared = await client.prepare_vocabulary(words, states.append)
        assert prepared.ready and prepared.known == prepared.phrases and states[-1] == prepared
        named = await client.create_vocabulary(words)
        assert len((await client.get_vocabulary(named.name)).categories) == len(words)
        assert named.name in [vocabulary.name async for vocabulary in client.list_vocabularies()]

        async def pictures():
            for item in [picture, b"no picture", picture]:
                await asyncio.sleep(0)
                yield item

        outcomes = [outcome async for outcome in client.segment_stream(pictures(), vocabulary=named.name, top_k=2)]
        assert [number for number, _ in outcomes] == [0, 1, 2]
        assert isinstance(outcomes[1][1], InvalidRequest)
        for _, outcome in (outcomes[0], outcomes[2]):
            assert isinstance(outcome, Segmentation)
            assert np.array_equal(outcome.mask, expected.mask)
        await client.delete_vocabulary(named.name)
        try:
            await client.segment(picture, vocabulary=named.name)
            sys.exit("a vocabulary that was deleted is still known")
        except NotFound as error:
            assert error.reason == "VOCABULARY_NOT_FOUND", error
        these = [picture, "no/such/file.png", Request(picture), "no/such/file.png"]
        found = [outcome async for outcome in client.segment_stream(these, words, top_k=2)]
        assert [number for number, _ in found] == [0, 1, 2, 3]
        assert np.array_equal(found[2][1].mask, expected.mask), "a picture behind a file that is missing"
        for _, error in (found[1], found[3]):
            assert isinstance(error, InvalidRequest) and error.field == "image", error
            assert isinstance(error.__cause__, FileNotFoundError) and "no/such/file.png" in error.message
    print("asyncio: 8 calls at once, a stream, the vocabularies and preparing: the same masks")


if __name__ == "__main__":
    asyncio.run(main())
