"""The client's answer to the question that all clients are asked, and what it makes of a bad request.

python map.py HOST:PORT FILE    writes the index map: 16 bits, little endian, row by row
"""

import json
import pathlib
import sys

import numpy as np
from sed_serve_client import Client, InvalidRequest

CLIENTS = pathlib.Path(__file__).resolve().parents[1]


def main() -> None:
    """Asks."""
    question = json.loads((CLIENTS / "question.json").read_text())
    picture = CLIENTS / question["image"]
    with Client(sys.argv[1]) as client:
        answer = client.segment(
            picture, question["categories"], top_k=question["top_k"], resize=question["resize"], encoding="raw"
        )
        pathlib.Path(sys.argv[2]).write_bytes(answer.mask.astype("<u2").tobytes())
        try:
            client.segment(picture, ["cat", "dog", "CAT"])
            sys.exit("a category that occurs twice was accepted")
        except InvalidRequest as error:
            assert error.reason == "CATEGORY_DUPLICATE", error
            assert error.field == "vocabulary.categories.categories[2].name", error.field
            print("refused as it should be:", error.reason, "in", error.field)
    assert np.unique(answer.mask).size > 1


if __name__ == "__main__":
    main()
