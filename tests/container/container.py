"""Runs an image's root folder as an engine would with `--read-only --cap-drop ALL --security-opt no-new-privileges`:
namespaces of its own (processes, mounts, network, IPC), a root that cannot be written, /tmp in memory, the image's
user, and the server as process 1.
"""

import ctypes
import json
import os
import pathlib
import subprocess
import sys
import time

from chroot import DEVICES
from image import Image, inside

NO_NEW_PRIVILEGES = 38  # PR_SET_NO_NEW_PRIVS of prctl(2)


class Container:
    """A running container; `volumes` are folders of this machine by the path where the image sees them."""

    def __init__(
        self,
        image: Image,
        environment: dict[str, str] | None = None,
        volumes: dict[str, pathlib.Path] | None = None,
    ) -> None:
        self.image, self.environment = image, image.environment | (environment or {})
        self.user, self.group = map(int, image.user.split(":"))
        specification = {
            "root": str(image.root),
            "volumes": {path: str(folder) for path, folder in (volumes or {}).items()},
            "workdir": image.workdir,
            "user": self.user,
            "group": self.group,
            "environment": self.environment,
            "command": image.entrypoint + image.command,
        }
        self.log = pathlib.Path(f"{image.root}.log")
        unshare = ["unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child"]
        with self.log.open("w") as log:
            command = [*unshare, sys.executable, __file__, json.dumps(specification)]
            self.outer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        children = pathlib.Path(f"/proc/{self.outer.pid}/task/{self.outer.pid}/children")
        while not (child := children.read_text().split()):
            assert self.outer.poll() is None, self.log.read_text()
            time.sleep(0.01)
        self.process = int(child[0])
        while pathlib.Path(f"/proc/{self.process}/comm").read_text().strip() != "sed-serve":
            assert self.outer.poll() is None, self.log.read_text()
            time.sleep(0.01)

    def __enter__(self) -> "Container":
        return self

    def __exit__(self, *_: object) -> None:
        if self.outer.poll() is None:
            self.outer.kill()  # what it started dies with it
            self.outer.wait()

    def execute(
        self, command: list[str], environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command of the image in the container, as `docker exec` does."""
        enter = ["nsenter", f"--target={self.process}", "--mount", "--pid", "--net", "--ipc", "--root"]
        user = [f"--setgid={self.group}", f"--setuid={self.user}"]
        variables = self.environment | (environment or {})
        return subprocess.run([*enter, *user, *command], env=variables, text=True, capture_output=True, timeout=60)

    def beside(self, command: list[str]) -> list[str]:
        """A command of this machine that shares nothing with the container but its network."""
        return ["nsenter", f"--target={self.process}", "--net", *command]

    def status(self) -> dict[str, list[str]]:
        """The kernel's status of process 1: the values of each field."""
        lines = pathlib.Path(f"/proc/{self.process}/status").read_text().splitlines()
        return {key: value.split() for key, _, value in (line.partition(":") for line in lines)}


def enter(specification: dict) -> None:
    """In the new namespaces: mounts, gives up all rights, and becomes the command."""
    root = pathlib.Path(specification["root"])

    def mount(*arguments: str | pathlib.Path) -> None:
        subprocess.run(["mount", *arguments], check=True)

    for path in specification["volumes"]:
        inside(root, path).mkdir(parents=True, exist_ok=True)
    for name in ["dev", "proc"]:
        (root / name).mkdir(exist_ok=True)
    for name in DEVICES:
        (root / "dev" / name).touch()
    mount("--bind", root, root)
    mount("-o", "remount,bind,ro", root)
    for name in DEVICES:
        mount("--bind", f"/dev/{name}", root / "dev" / name)
    for path, folder in specification["volumes"].items():
        mount("--bind", folder, inside(root, path))
    mount("-t", "tmpfs", "-o", "mode=1777,nosuid,nodev,noexec", "tmpfs", root / "tmp")
    mount("-t", "proc", "-o", "nosuid,nodev,noexec", "proc", root / "proc")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    os.chroot(root)
    os.chdir(specification["workdir"])
    if ctypes.CDLL(None, use_errno=True).prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    os.setgroups([])
    os.setgid(specification["group"])
    os.setuid(specification["user"])
    os.execve(specification["command"][0], specification["command"], specification["environment"])


if __name__ == "__main__":
    enter(json.loads(sys.argv[1]))
