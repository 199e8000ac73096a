"""A Prometheus of one's own that scrapes a server every second and evaluates the rules as often."""

import contextlib
import json
import pathlib
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

CONFIG = """
global:
  scrape_interval: 1s
  evaluation_interval: 1s
rule_files: [{rules}]
scrape_configs:
  - job_name: sed-serve
    static_configs:
      - targets: ["{target}"]
"""


class Prometheus:
    """A running Prometheus, queried over HTTP. Times are Unix seconds."""

    def __init__(self, address: str) -> None:
        self.address = address

    def get(self, path: str, **parameters: object) -> Any:
        """The data of an answer; an error of Prometheus is raised with its words."""
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{path} {parameters.get('query', '')}: {error.read().decode()}") from error

    def at(self, expr: str, when: float) -> list[dict[str, Any]]:
        """The vector that an expression is at a time."""
        return self.get("query", query=expr, time=when)["result"]

    def value(self, expr: str, when: float) -> float:
        """The only value of an expression; 0 where it has none."""
        result = self.at(expr, when)
        return float(result[0]["value"][1]) if result else 0.0

    def over(self, expr: str, start: float, end: float) -> list[dict[str, Any]]:
        """The series that an expression is over a time, every second."""
        return self.get("query_range", query=expr, start=start, end=end, step=1)["result"]

    def quiet_since(self, moment: float) -> float:
        """Waits for a scrape from after this moment in which no call runs any more; gives its time."""
        running = "sed_requests_in_flight + sed_stream_requests_in_flight == 0"
        for _ in range(600):
            scraped = self.value(f"timestamp(sed_requests_in_flight) and {running}", time.time())
            if scraped > moment + 1:  # what a stage still counts after its call has gone is counted by then
                return scraped
            time.sleep(0.2)
        raise RuntimeError("calls still run two minutes after the load")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def running(target: str, rules: pathlib.Path, folder: pathlib.Path) -> Iterator[Prometheus]:
    """Starts it, waits for its first scrape, and ends it."""
    config = folder / "prometheus.yaml"
    config.write_text(CONFIG.format(rules=json.dumps(str(rules)), target=target))
    subprocess.run(["promtool", "check", "config", str(config)], check=True, stdout=subprocess.DEVNULL)
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    with open(folder / "prometheus.log", "w") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=log, stderr=log)
    try:
        prometheus = Prometheus(address)
        for _ in range(300):
            with contextlib.suppress(OSError, RuntimeError):
                if prometheus.at("up == 1", time.time()):
                    break
            if process.poll() is not None:
                raise RuntimeError(f"prometheus ended: {(folder / 'prometheus.log').read_text()[-2000:]}")
            time.sleep(0.1)
        else:
            raise RuntimeError("prometheus has not scraped the server within 30 seconds")
        yield prometheus
    finally:
        process.terminate()
        process.wait(timeout=30)
