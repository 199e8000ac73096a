"""The hard memory limit: a cgroup where this process may make one, else a watcher that kills.

Resource limits are no honest substitute. RLIMIT_AS and RLIMIT_DATA count reserved address space, and the server's
allocator reserves a GiB at its start, of which it touches what it needs: an idle server has 1,044 MiB of data and
110 MiB in memory. RLIMIT_DATA is set all the same, far above the limit, so that a watcher that comes too late costs
this machine no more than that.
"""

import contextlib
import os
import resource
from pathlib import Path

MIB = 1 << 20
# Over the limit: what the allocator reserves, and as much again as a fast allocation takes while the watcher sleeps.
RESERVE = 2048 * MIB


class Limit:
    """A limit of ``size`` bytes for one process."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.cgroup = _new_cgroup(size)

    @property
    def kind(self) -> str:
        """The mechanism, for the report."""
        return "cgroup v2 memory.max" if self.cgroup else "watcher of VmHWM every 5 ms, RLIMIT_DATA far above"

    def wrap(self, command: list[str]) -> list[str]:
        """The command within the limit, and with as few descriptors as shells and systemd give by default."""
        enter = f'echo $$ >"{self.cgroup}/cgroup.procs" && ' if self.cgroup else ""
        return ["sh", "-c", f'{enter}ulimit -S -n 1024 && exec "$@"', "sh", *command]

    def hold(self, process: int) -> None:
        """Sets the limits of a running process."""
        resource.prlimit(process, resource.RLIMIT_DATA, (self.size + RESERVE, self.size + RESERVE))

    def remove(self) -> None:
        """Removes the cgroup, whose process has ended."""
        if self.cgroup:
            with contextlib.suppress(OSError):
                self.cgroup.rmdir()


def _new_cgroup(size: int) -> Path | None:
    """A cgroup beside that of this process, whose own may not have both processes and children; None where that is not
    allowed."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        own = next(line[3:] for line in lines if line.startswith("0::"))
        parent = (Path("/sys/fs/cgroup") / own.lstrip("/")).parent
        if "memory" not in (parent / "cgroup.subtree_control").read_text().split():
            return None
        cgroup = parent / f"sed-abuse-{os.getpid()}"
        cgroup.mkdir()
        (cgroup / "memory.max").write_text(str(size))
        with contextlib.suppress(OSError):
            (cgroup / "memory.swap.max").write_text("0")
    except (OSError, StopIteration):
        return None
    return cgroup


class Memory:
    """The resident memory of a process, as the kernel counts it."""

    def __init__(self, process: int) -> None:
        self._folder = Path(f"/proc/{process}")

    def reset_peak(self) -> None:
        """Begins a new high-water mark."""
        (self._folder / "clear_refs").write_text("5")

    def peak(self) -> int:
        """The high-water mark in bytes; 0 once the process has ended."""
        try:
            status = (self._folder / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return 0
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
        return 0
