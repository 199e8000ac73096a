"""Requirements of the chart outside of Kubernetes: the program's probes and its end, and the download of a model."""

import hashlib
import http.server
import json
import os
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import chart


def status(url: str) -> int:
    """The status of a GET."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_the_program_answers_the_probes_and_drains_without_a_hook(tmp_path: Path) -> None:
    objects = chart.render({"drain": {"delaySeconds": 2}})
    container = chart.container(objects)
    file = tmp_path / "sed-serve.toml"
    file.write_text(chart.settings_file(objects))
    local = {"SED_CONFIG": str(file), "SED_LISTEN": "127.0.0.1:0", "SED_OPS_LISTEN": "127.0.0.1:0", "SED_THREADS": "1"}
    variables = chart.clean_environment() | chart.environment(container) | local
    with subprocess.Popen(
        [chart.program_path(), "--json", *container["args"]],
        env=variables, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as server:  # fmt: skip
        assert server.stdout
        operations = json.loads(server.stdout.readline())["ops_address"]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert status(f"http://{operations}{container[probe]['httpGet']['path']}") == 200, probe

        server.send_signal(signal.SIGTERM)
        ready = f"http://{operations}{container['readinessProbe']['httpGet']['path']}"
        for _ in range(100):
            if status(ready) != 200:
                break
            time.sleep(0.01)
        # Not ready, and still there: this is the time in which endpoints and proxies forget the pod.
        assert status(ready) == 503 and server.poll() is None
        assert status(f"http://{operations}{container['livenessProbe']['httpGet']['path']}") == 200
        server.wait(timeout=chart.pod(objects)["terminationGracePeriodSeconds"])
        assert server.returncode == 0


class Store(http.server.BaseHTTPRequestHandler):
    """Serves a model to clients with the secret, after a redirect."""

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/model")
            self.end_headers()
        elif self.headers.get("Authorization") != "Bearer letmein":
            self.send_error(401)
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"weights")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture()
def store() -> Iterator[str]:
    """The address of a store."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Store) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def fetch(url: str, sha256: str, folder: Path, authorization: str) -> subprocess.CompletedProcess[str]:
    """Runs the script of the container that fetches, with /models replaced."""
    values = {"model": {"source": "fetch", "file": "sed/b.safetensors", "fetch": {"url": url, "sha256": sha256}}}
    (container,) = chart.pod(chart.render(values))["initContainers"]
    assert container["volumeMounts"] == [{"name": "model", "mountPath": "/models"}]
    script = container["args"][0].replace("/models", str(folder))
    variables = {"PATH": os.environ["PATH"], "AUTHORIZATION": authorization} | chart.environment(container)
    return subprocess.run([*container["command"], script], env=variables, capture_output=True, text=True)


def test_a_model_is_fetched_and_checked(store: str, tmp_path: Path) -> None:
    right = hashlib.sha256(b"weights").hexdigest()
    run = fetch(f"{store}/moved", right.upper(), tmp_path, "Bearer letmein")
    assert run.returncode == 0, run.stderr
    assert [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()] == [b"weights"]
    assert (tmp_path / "sed/b.safetensors").exists()


@pytest.mark.parametrize("content, authorization", [(b"other", "Bearer letmein"), (b"weights", "Bearer wrong")])
def test_a_wrong_model_or_secret_stops_the_pod(store: str, tmp_path: Path, content: bytes, authorization: str) -> None:
    run = fetch(f"{store}/model", hashlib.sha256(content).hexdigest(), tmp_path, authorization)
    assert run.returncode != 0
    assert not (tmp_path / "sed/b.safetensors").exists()


def test_the_secret_of_the_store_is_an_authorization_header() -> None:
    (container,) = chart.pod(chart.render(chart.VALUES["fetch"]))["initContainers"]
    wanted = {"secretKeyRef": {"name": "model-store", "key": "authorization"}}
    assert chart.environment(container)["AUTHORIZATION"] == wanted
