"""A Dockerfile as stages of instructions, with its variables put in."""

import dataclasses
import io
import pathlib
import re
import shlex

from dockerfile_parse import DockerfileParser

FLAG = re.compile(r"--([a-z-]+)=(\S+)\s+")
VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::([+-])([^}]*))?\})")


@dataclasses.dataclass
class Instruction:
    """One instruction: its name, its flags, and what follows them as it is written."""

    name: str
    flags: list[tuple[str, str]]
    value: str
    line: int


@dataclasses.dataclass
class Stage:
    """A stage: its name, what it is made from (variables not put in yet), and its instructions."""

    name: str
    base: str
    instructions: list[Instruction]


def read(path: pathlib.Path) -> tuple[dict[str, str], list[Stage]]:
    """The arguments before the first stage with their defaults, and the stages in their order."""
    parser = DockerfileParser(fileobj=io.BytesIO(path.read_bytes()))
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for entry in parser.structure:
        name, value = entry["instruction"], entry["value"]
        if name == "COMMENT":
            continue
        if name == "FROM":
            base, *stage = value.split()
            assert not stage or (len(stage) == 2 and stage[0] == "AS"), f"FROM {value} is not understood"
            stages.append(Stage(stage[1] if stage else str(len(stages)), base, []))
        elif not stages:
            assert name == "ARG", f"line {entry['startline'] + 1}: {name} before the first FROM"
            key, _, default = value.partition("=")
            arguments[key] = default
        else:
            flags = []
            while flag := FLAG.match(value):
                flags.append((flag[1], flag[2]))
                value = value[flag.end() :]
            stages[-1].instructions.append(Instruction(name, flags, value, entry["startline"] + 1))
    return arguments, stages


def expand(text: str, variables: dict[str, str]) -> str:
    """`$NAME`, `${NAME}`, `${NAME:-where it is empty}` and `${NAME:+where it is not}`; any other form is an error."""

    def value(match: re.Match[str]) -> str:
        found = variables.get(match[1] or match[2], "")
        word = expand(match[4] or "", variables)
        return {None: found, "-": found or word, "+": found and word}[match[3]]

    left = VARIABLE.sub("", text)
    assert "$" not in left, f"{text!r} has a variable of a form that is not known here"
    return VARIABLE.sub(value, text)


def pairs(text: str, variables: dict[str, str]) -> dict[str, str]:
    """The `KEY=value` of ENV and LABEL."""
    split = (word.partition("=") for word in shlex.split(text))
    return {key: expand(value, variables) for key, _, value in split}
