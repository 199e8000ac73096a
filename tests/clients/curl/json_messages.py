"""Requests for the clients that speak JSON, and their answers.

python3 json_messages.py question QUESTION       prints the request for the question that all clients are asked
python3 json_messages.py duplicate QUESTION      prints one that must be refused: a category occurs twice
python3 json_messages.py map ANSWER FILE         writes the index map of an answer: 16 bits, little endian, row by row
python3 json_messages.py refused ERROR           checks what the client printed of the refusal
python3 json_messages.py sure QUESTION           prints the request with all that says how sure the answer is
python3 json_messages.py how-sure ANSWER         checks its answer
python3 json_messages.py auto QUESTION           prints the request with contrast words of the server's choice
python3 json_messages.py prepare QUESTION        prints the request to prepare the words, with a contrast word
python3 json_messages.py prepared ANSWER         checks the messages that come back
python3 json_messages.py create QUESTION         prints the request to register them
python3 json_messages.py name ANSWER             prints the request for the vocabulary that was registered
python3 json_messages.py known ANSWER            checks the answer to that
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


BEST_WITH_CONTRAST = {
    "synonymMode": "SYNONYM_MODE_BEST",
    "contrast": {"categories": {"categories": [{"name": "wall clock"}]}},
}
PLANES = {
    "MASK_ENCODING_RAW": "rawIndices",
    "MASK_ENCODING_SCORE_PNG": "scorePng",
    "MASK_ENCODING_SCORE_RAW": "rawScores",
    "MASK_ENCODING_RUNNER_UP_PNG": "runnerUpPng",
    "MASK_ENCODING_MARGIN_PNG": "marginPng",
    "MASK_ENCODING_MARGIN_RAW": "rawMargins",
}


def sure(question: pathlib.Path) -> dict:
    """The request with all that says how sure the answer is; two categories can never reach their thresholds."""
    made = request(question, None)
    made["vocabulary"] |= BEST_WITH_CONTRAST
    made["options"] |= {
        "maskEncodings": list(PLANES),
        "reportAmbiguities": True,
        "overlay": {"fadeUnsure": True},
        "categoryThresholds": [{"name": "cat", "threshold": 1}, {"index": 2, "threshold": 1}],
    }
    return made


def auto(question: pathlib.Path) -> dict:
    """The request with contrast words of the server's choice."""
    made = request(question, None)
    made["vocabulary"]["contrast"] = {"automatic": {}}
    return made


def check_sure(answer: dict) -> None:
    """Every part is there. Fields with the value 0 are left out in JSON."""
    size = answer["maskSize"]["width"] * answer["maskSize"]["height"]
    for mask, (encoding, content) in zip(answer["masks"], PLANES.items(), strict=True):
        plane = base64.b64decode(mask[content])
        assert len(plane) == 2 * size if content.startswith("raw") else plane[1:4] == b"PNG", content
        assert mask["encoding"] == encoding, mask["encoding"]
    assert base64.b64decode(answer["overlayPng"])[1:4] == b"PNG"
    for index in (1, 2):
        assert int(answer["categories"][index].get("pixels", 0)) == 0, answer["categories"][index]
    assert answer["contrast"]["names"] == ["wall clock"], answer["contrast"]
    assert answer["rejection"]["levels"][0]["contrastCandidates"] == 1
    assert len(answer["categories"]) == 12
    assert answer["ambiguities"], "the reduced model is sure of nothing"
    for one in answer["ambiguities"]:
        assert one.get("firstIndex", 0) < one["secondIndex"] < 12 and int(one["pixels"]) >= 0.01 * size, one
        assert one["areaShare"] >= 0.01 and 0 <= one.get("meanMargin", 0) < 0.1 and -1 <= one["textSimilarity"] <= 1, (
            one
        )
    print(f"scores, runner-up and margins in {len(PLANES)} encodings; {len(answer['ambiguities'])} ambiguities")


def prepare(question: pathlib.Path) -> dict:
    """The request to prepare the words."""
    return {"vocabulary": request(question, None)["vocabulary"] | BEST_WITH_CONTRAST}


def create(question: pathlib.Path) -> dict:
    """The request to register the words."""
    return request(question, None)["vocabulary"] | BEST_WITH_CONTRAST


def check_prepared(printed: str) -> None:
    """Messages follow each other; the last one says that all is ready."""
    states, decoder, at = [], json.JSONDecoder(), 0
    while printed[at:].strip():
        at += len(printed[at:]) - len(printed[at:].lstrip())
        state, at = decoder.raw_decode(printed, at)
        states.append(state)
    last = states[-1]
    assert last["ready"] and last["phrases"] == last["embedded"] == 19 and last["replica"], last
    assert all(device["device"] and device["embedded"] == 19 for device in last["devices"]), last
    embedded = [state.get("embedded", 0) for state in states]
    assert embedded == sorted(embedded) and not any(state.get("ready") for state in states[:-1]), states
    print(f"prepared 19 phrases, {last.get('known', 0)} of them were known")


def check_known(known: dict) -> None:
    """The vocabulary has its words, and all of them are embedded."""
    assert (known["size"], known["phrases"], known["embeddedPhrases"], known["contrastSize"]) == (12, 19, 19, 1), known
    assert known["synonymMode"] == "SYNONYM_MODE_BEST", known
    print("registered with a contrast word and the best of its synonyms")


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
    elif what in ("sure", "auto", "prepare", "create"):
        print(json.dumps({"sure": sure, "auto": auto, "prepare": prepare, "create": create}[what](path)))
    elif what == "how-sure":
        check_sure(json.loads(path.read_text()))
    elif what == "prepared":
        check_prepared(path.read_text())
    elif what == "name":
        print(json.dumps({"name": json.loads(path.read_text())["vocabulary"]["name"]}))
    elif what == "known":
        check_known(json.loads(path.read_text())["vocabulary"])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
