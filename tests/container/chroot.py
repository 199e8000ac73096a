"""Executes the instructions of the Dockerfile without a container engine: every stage is a folder, RUN is a shell in it
by chroot, COPY copies. An instruction, a flag or a form that is not known here is an error, so nothing is skipped.
"""

import copy
import dataclasses
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess

import bases
import context
from dockerfile import Instruction, Stage, expand, pairs, read
from image import Image, inside

# What RUN needs of this machine to reach the archives of packages; an engine provides the first by itself.
FROM_THIS_MACHINE = ["/etc/resolv.conf", "/etc/hosts", bases.CERTIFICATES, "/etc/pip.conf"]
FLAGS = {
    "COPY": {"from", "chown", "chmod"},
    "HEALTHCHECK": {"interval", "timeout", "start-period", "retries"},
    "RUN": {"mount"},
}
DEVICES = ["null", "zero", "full", "random", "urandom"]


class Builder:
    """Builds targets of the Dockerfile into folders of `work`. What stands in for bases is in `cache`, and so are the
    cache mounts of RUN, if `mounts` is not another folder."""

    def __init__(
        self, work: pathlib.Path, cache: pathlib.Path, arguments: dict[str, str], mounts: pathlib.Path | None = None
    ) -> None:
        self.work, self.cache, self.given, self.mounts = work, cache, arguments, mounts or cache / "mounts"
        defaults, self.stages = read(context.REPOSITORY / "Dockerfile")
        known = {i.value.partition("=")[0] for s in self.stages for i in s.instructions if i.name == "ARG"}
        if unknown := set(arguments) - known - set(defaults) - {"SOURCE_DATE_EPOCH"}:
            raise SystemExit(f"the Dockerfile has no argument {', '.join(sorted(unknown))}")
        self.arguments = defaults | {key: arguments[key] for key in defaults if key in arguments}
        self.built: dict[str, Image] = {}

    def stand_in(self, stage: str, root: pathlib.Path) -> None:
        """Uses a folder as the result of a stage, which is then not built."""
        self.built[stage] = Image(root)

    def build(self, target: str) -> Image:
        """Builds a stage, and first what it needs."""
        if target in self.built:
            return self.built[target]
        stage = next((stage for stage in self.stages if stage.name == target), None)
        assert stage, f"the Dockerfile has no stage {target}"
        image = self.start(stage)
        scope: dict[str, str] = {}
        for instruction in stage.instructions:
            if instruction.name == "RUN":
                print(f"  {target}: RUN {instruction.value[:100]} …", flush=True)
            try:
                self.execute(image, instruction, scope)
            except (AssertionError, KeyError, subprocess.CalledProcessError) as error:
                raise SystemExit(f"Dockerfile:{instruction.line}: {instruction.name} failed: {error}") from error
        self.built[target] = image
        return image

    def start(self, stage: Stage) -> Image:
        base = expand(stage.base, self.arguments)
        root = self.work / stage.name
        ours = any(other.name == base for other in self.stages)
        of = self.build(base) if ours else bases.find(base, self.cache)
        subprocess.run(["cp", "-a", of.root, root], check=True)
        return dataclasses.replace(copy.deepcopy(of), root=root)

    def execute(self, image: Image, instruction: Instruction, scope: dict[str, str]) -> None:
        variables, value = scope | image.environment, instruction.value
        flags = dict(instruction.flags)
        assert set(flags) <= FLAGS.get(instruction.name, set()), f"a flag of {set(flags)} is not known here"
        match instruction.name:
            case "ARG":
                key, _, default = value.partition("=")
                inherited = self.arguments.get(key, expand(default, variables))
                scope[key] = self.given.get(key, inherited)
            case "ENV":
                image.environment |= pairs(value, variables)
            case "LABEL":
                image.labels |= pairs(value, variables)
            case "WORKDIR":
                image.workdir = os.path.join(image.workdir, expand(value, variables))
                inside(image.root, image.workdir).mkdir(parents=True, exist_ok=True)
            case "COPY":
                *sources, to = shlex.split(expand(value, variables))
                size = self.copy(image, sources, os.path.join(image.workdir, to), flags)
                image.layers.append((f"COPY {value}", size))
            case "RUN":
                self.run(image, instruction, scope)
            case "USER":
                image.user = value
            case "EXPOSE":
                image.ports = value
            case "STOPSIGNAL":
                image.stop_signal = value
            case "ENTRYPOINT":
                image.entrypoint = json.loads(value)
            case "CMD":
                image.command = json.loads(value)
            case "HEALTHCHECK":
                image.health = json.loads(value.removeprefix("CMD"))
            case _:
                raise AssertionError("this instruction is not known here")

    def copy(self, image: Image, sources: list[str], to: str, flags: dict[str, str]) -> int:
        """Returns how many bytes were copied."""
        origin = self.build(flags["from"]).root if "from" in flags else None
        wanted = [found for source in sources for found in listed(origin, source)]
        assert wanted, f"{sources} is not there, or .dockerignore hides it"
        into_folder = to.endswith("/") or len(sources) > 1 or any(name for _, name in wanted)
        size = 0
        for path, name in wanted:
            target = inside(image.root, os.path.join(to, name or path.name) if into_folder else to)
            if name == "." and target.exists():
                continue  # what is in the folder is copied; the target stays what it is
            if path.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target)
                size += path.stat().st_size
            if "chmod" in flags:
                target.chmod(int(flags["chmod"], 8))
            os.chown(target, *map(int, flags.get("chown", "0:0").split(":")))
        return size

    def run(self, image: Image, instruction: Instruction, scope: dict[str, str]) -> None:
        binds = {path: path for path in FROM_THIS_MACHINE if os.path.exists(path)} | image.binds
        for kind, value in instruction.flags:
            mount = dict(part.split("=") for part in value.split(","))
            assert mount.pop("type") == "cache", f"--{kind}={value} is not known here"
            assert mount.pop("sharing", "") in ("", "locked"), f"{value}: builds here are one at a time"
            target = mount.pop("target")
            folder = self.mounts / re.sub(r"\W+", "-", mount.pop("id", target)).strip("-")
            assert not mount, f"{mount} is not known here"
            folder.mkdir(parents=True, exist_ok=True)
            binds[str(folder)] = target
        script = ["set -e"]
        for source, target in (binds | {f"/dev/{name}": f"/dev/{name}" for name in DEVICES}).items():
            at = inside(image.root, target)
            if os.path.isdir(source):
                at.mkdir(parents=True, exist_ok=True)
            elif not at.exists():
                at.parent.mkdir(parents=True, exist_ok=True)
                at.touch()
            script.append(f"mount --bind {shlex.quote(source)} {shlex.quote(str(at))}")
        script.append(f"mount -t proc proc {shlex.quote(str(image.root / 'proc'))}")
        environment = [f"{key}={value}" for key, value in ({"HOME": "/root"} | scope | image.environment).items()]
        inner = ["/bin/sh", "-c", f"cd {shlex.quote(image.workdir)} && {{\n{instruction.value}\n}}"]
        script.append("exec " + shlex.join(["chroot", str(image.root), "/usr/bin/env", "-i", *environment, *inner]))
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        log = pathlib.Path(f"{image.root}.log")
        with log.open("a") as out:
            ended = subprocess.run([*unshare, "sh", "-c", "\n".join(script)], stdout=out, stderr=out)
        assert ended.returncode == 0, f"exit code {ended.returncode}\n{log.read_text()[-4000:]}"


def listed(origin: pathlib.Path | None, source: str) -> list[tuple[pathlib.Path, str]]:
    """The files that a source of COPY names in a stage or in the context: paths, and their names below the named folder
    (empty if the source names the file itself)."""
    if origin is None:
        files = [(context.REPOSITORY / path, path) for path in context.files()]
        source = os.path.normpath(source)
        below = [(path, str(name.relative_to(source))) for path, name in files if name.is_relative_to(source)]
        return [(path, "" if name == "." else name) for path, name in below]
    path = inside(origin, source)
    if path.is_dir():
        return [(path, ".")] + [(below, str(below.relative_to(path))) for below in sorted(path.rglob("*"))]
    return [(path, "")] if path.exists() else []
