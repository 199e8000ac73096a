"""The reader of Dockerfiles, on what this Dockerfile does and on what it must refuse."""

import pathlib
import tempfile
import unittest

from dockerfile import expand, pairs, read

TEXT = """\
# a comment
ARG BASE=debian:bookworm
FROM ${BASE} AS build
RUN --mount=type=cache,target=/a \\
    # a comment between lines
    --mount=type=cache,target=/b \\
    echo "one  two" && \\
    echo '$HOME'
FROM build${WITH:+-more}
COPY --from=build --chown=1:2 /a /b/
"""


class Reader(unittest.TestCase):
    def test_stages_instructions_and_flags(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "Dockerfile")
            path.write_text(TEXT)
            arguments, stages = read(path)
        self.assertEqual(arguments, {"BASE": "debian:bookworm"})
        self.assertEqual([(s.name, s.base) for s in stages], [("build", "${BASE}"), ("1", "build${WITH:+-more}")])
        run, copy = stages[0].instructions[0], stages[1].instructions[0]
        self.assertEqual([value for _, value in run.flags], ["type=cache,target=/a", "type=cache,target=/b"])
        self.assertEqual(run.value.split("&&")[0], 'echo "one  two" ')
        self.assertIn("'$HOME'", run.value)
        self.assertEqual((copy.flags, copy.value), ([("from", "build"), ("chown", "1:2")], "/a /b/"))

    def test_variables(self) -> None:
        known = {"A": "a", "EMPTY": ""}
        for text, want in {
            "$A/${A}": "a/a",
            "x${A:+-$A}": "x-a",
            "x${EMPTY:+-more}": "x",
            "${EMPTY:-b}${NONE:-c}${A:-d}": "bca",
        }.items():
            self.assertEqual(expand(text, known), want)
        for text in ["${A##*/}", "${A%x}", "$$"]:
            self.assertRaises(AssertionError, expand, text, known)
        self.assertEqual(pairs('K="v $A" L=$A', known), {"K": "v a", "L": "a"})


if __name__ == "__main__":
    unittest.main()
