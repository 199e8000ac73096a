"""Runs the Python code of clients/python/README.md, in the folder of the example pictures' copy that it stands in.

python readme.py HOST:PORT
"""

import pathlib
import re
import sys

README = pathlib.Path(__file__).resolve().parents[3] / "clients" / "python" / "README.md"


def main() -> None:
    """Runs every block."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert blocks, "the README has no code"
    for block in blocks:
        assert "127.0.0.1:50051" in block
        exec(compile(block.replace("127.0.0.1:50051", sys.argv[1]), str(README), "exec"), {})


if __name__ == "__main__":
    main()
