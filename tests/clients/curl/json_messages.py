"""Requests for the clients that speak JSON, and their answers.

python3 json_messages.py question QUESTION       prints the request for the question that all clients are asked
python3 json_messages.py duplicate QUESTION      prints one that must be refused: a category occurs twice
python3 json_messages.py map ANSWER FILE         writes the index map of an answer: 16 bits, little endian, row by row
python3 json_messages.py refused ERROR           checks what the client printed of the refusal
"""

import base64
import json
import pathlib
import re
import sys


def request(question: pathlib.Path, categories: list[list[str]] | None) -> dict:
    """The request, in the JSON form of protobuf."""
    asked = json.loads(question.read_text())
    words = [{"name": names[0], "synonyms": names[1:]} for names in categories or asked["categories"]]
    picture = (question.parent / asked["image"]).read_bytes()
    return {
        "image": {"encoded": base64.b64encode(picture).decode()},
        "vocabulary": {"categories": {"categories": words}},
        "options": {
            "topK": asked["top_k"],
            "resizeMode": {"two_step": "RESIZE_MODE_TWO_STEP"}[asked["resize"]],
            "maskEncodings": ["MASK_ENCODING_RAW"],
        },
    }


def check_refusal(printed: str) -> None:
    """The details are base64 where the program does not know google.rpc; look for reason and field in both forms."""
    decoded = [
        base64.b64decode(text + "==") for text in re.findall(r'"value": ?"([A-Za-z0-9+/]+)', printed.replace("@", ""))
    ]
    seen = b"\n".join([printed.encode(), *decoded])
    for wanted in (b"CATEGORY_DUPLICATE", b"vocabulary.categories.categories[2].name"):
        assert wanted in seen, f"{wanted.decode()} is missing in:\n{printed}"
    assert b"google.rpc.ErrorInfo" in seen and b"google.rpc.BadRequest" in seen, printed
    print("refused as it should be: CATEGORY_DUPLICATE in vocabulary.categories.categories[2].name")


def main() -> None:
    """Runs the command that the first argument names."""
    what, path = sys.argv[1], pathlib.Path(sys.argv[2])
    if what == "question":
        print(json.dumps(request(path, None)))
    elif what == "duplicate":
        print(json.dumps(request(path, [["cat"], ["dog"], ["CAT"]])))
    elif what == "map":
        answer = json.loads(path.read_text())
        pathlib.Path(sys.argv[3]).write_bytes(base64.b64decode(answer["masks"][0]["rawIndices"]))
    elif what == "refused":
        check_refusal(path.read_text())
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
