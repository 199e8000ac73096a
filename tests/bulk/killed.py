"""Bulk runs over two replicas: plain, interrupted and resumed, and with Ray while an actor and a replica are killed.

python killed.py FOLDER
"""

import collections
import json
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import psutil
from PIL import Image
from processes import PATIENCE, Replica, check, until

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "clients" / "python" / "examples"
SCENES = ROOT / "models" / "sed-tiny" / "examples"
WORDS = "cow, house|barn, tree, grass, sky, dog, car, road"
PICTURES = 160


def main() -> None:
    """Runs both examples, and prints their figures beside those of one replica alone."""
    folder = pathlib.Path(sys.argv[1])
    pictures = folder / "pictures"
    draw(pictures)
    replicas = [Replica(name, 1 + at, folder, ["--image-cache-bytes", "0"]) for at, name in enumerate("ab")]
    try:
        for replica in replicas:
            replica.start()
        for replica in replicas:
            replica.wait_ready()
        one, both = replicas[0].address, ",".join(replica.address for replica in replicas)
        print(f"  one replica, bench load: {throughput(replicas[0], pictures):.1f} pictures a second")
        plain(folder, pictures, one, both)
        killed(folder, pictures, replicas, both)
    finally:
        for replica in replicas:
            replica.stop()


def draw(folder: pathlib.Path) -> None:
    """Draws pictures of several kinds, in folders, and one file that is none."""
    random = np.random.default_rng(1)
    scenes = [Image.open(scene).convert("RGB") for scene in sorted(SCENES.glob("*.png"))]
    for number in range(PICTURES - 1):
        scene = scenes[number % len(scenes)]
        left, top = (int(random.integers(0, side // 2)) for side in scene.size)
        file = folder / f"day{number % 3}" / f"{number}.{'jpg' if number % 2 else 'png'}"
        file.parent.mkdir(parents=True, exist_ok=True)
        scene.crop((left, top, left + 320, top + 240)).save(file)
    (folder / "damaged.jpg").write_bytes(b"no picture")


def throughput(replica: Replica, pictures: pathlib.Path) -> float:
    """Pictures per second of one replica alone under `bench load`."""
    command = [os.environ["SED_SERVE"], "--json", "bench", "load", "--server", f"http://{replica.address}"]
    command += ["--clients", "8", "--warm-up", "1", "--duration", "4", "--words", WORDS, str(pictures / "day0")]
    environment = {name: value for name, value in os.environ.items() if name != "SED_SERVE"}
    found = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return float(json.loads(found.stdout)["result"]["throughput"])


def example(name: str, pictures: pathlib.Path, results: pathlib.Path, *arguments: object) -> subprocess.Popen[bytes]:
    """Starts an example, which prints into files beside its results."""
    command = [
        sys.executable,
        str(EXAMPLES / name),
        str(pictures),
        str(results),
        *map(str, arguments),
        "--words",
        WORDS,
    ]
    with printed(results, "out").open("w") as output, printed(results, "err").open("w") as errors:
        return subprocess.Popen(command, stdout=output, stderr=errors)


def printed(results: pathlib.Path, kind: str) -> pathlib.Path:
    """The file that an example prints into."""
    return results.with_suffix(f".{kind}")


def end(process: subprocess.Popen[bytes], results: pathlib.Path) -> str:
    """Waits for an example's end; returns its line of figures."""
    process.wait(timeout=PATIENCE)
    errors = printed(results, "err").read_text()[-3000:]
    check(process.returncode == 0, f"the example ended with {process.returncode}: {errors}")
    return next(line for line in printed(results, "out").read_text().splitlines() if " a second" in line)


def plain(folder: pathlib.Path, pictures: pathlib.Path, one: str, both: str) -> None:
    """Plain asyncio on one replica, then on both, killed in the middle and resumed."""
    line = end(example("bulk_asyncio.py", pictures, folder / "one", "--servers", one), folder / "one")
    expect_once(pictures, folder / "one")
    print(f"  bulk_asyncio, one replica: {line}")
    process = example("bulk_asyncio.py", pictures, folder / "both", "--servers", both)
    until("a third is done", lambda: count(folder / "both") >= PICTURES // 3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = count(folder / "both")
    check(done < PICTURES, "it was killed too late")
    times = {file: file.stat().st_mtime_ns for file in (folder / "both").rglob("[!.]*.json")}
    line = end(example("bulk_asyncio.py", pictures, folder / "both", "--servers", both), folder / "both")
    expect_once(pictures, folder / "both")
    check(all(file.stat().st_mtime_ns == written for file, written in times.items()), "a result was written again")
    expect_same(folder / "one", folder / "both")
    print(f"  bulk_asyncio, two replicas, killed after {done} pictures and resumed: {line}")


def killed(folder: pathlib.Path, pictures: pathlib.Path, replicas: list[Replica], both: str) -> None:
    """Ray, of which an actor is killed, and then a replica, which comes back."""
    results = folder / "ray"
    process = example("bulk_ray.py", pictures, results, "--servers", both, "--in-flight", 4)
    try:
        until("a quarter is done", lambda: process.poll() is not None or count(results) >= PICTURES // 4)
        actors = actors_of(process.pid)
        errors = printed(results, "err").read_text()[-3000:]
        check(len(actors) == 2, f"{len(actors)} actors are at work: {errors}")
        actors[0].kill()
        until("a third is done", lambda: process.poll() is not None or count(results) >= PICTURES // 3)
        replicas[1].kill()
        until("half is done", lambda: process.poll() is not None or count(results) >= PICTURES // 2)
        at = count(results)
        check(process.poll() is None and at < PICTURES, "the run was over before the replica was back")
        replicas[1].start()
        replicas[1].wait_ready()
        line = end(process, results)
    finally:
        for child in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []:
            child.kill()
        process.kill()
    expect_once(pictures, results)
    expect_same(folder / "one", results)
    check(replicas[1].metric("sed_image_pixels_count") > 0, "the replica that came back got no work")
    print(f"  bulk_ray, two replicas, an actor and a replica killed: {line}")


def actors_of(driver: int) -> list[psutil.Process]:
    """The processes of the actors that a driver's Ray has started."""
    found = []
    for process in psutil.Process(driver).children(recursive=True):
        try:
            if "Segmenter" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def count(results: pathlib.Path) -> int:
    """Finished results."""
    return sum(1 for _ in results.rglob("[!.]*.json")) if results.exists() else 0


def expect_once(pictures: pathlib.Path, results: pathlib.Path) -> None:
    """Each picture has one result, a whole one; the file that is no picture has its error."""
    found = [json.loads(file.read_text()) for file in results.rglob("[!.]*.json")]
    times = collections.Counter(result["picture"] for result in found)
    expected = {str(file.relative_to(pictures)) for file in pictures.rglob("*") if file.is_file()}
    check(set(times) == expected, f"{len(expected - set(times))} pictures have no result")
    check(set(times.values()) == {1}, "a picture has two results")
    failed = {result["picture"]: result["error"]["reason"] for result in found if "error" in result}
    check(failed == {"damaged.jpg": "IMAGE_UNSUPPORTED"}, f"errors: {failed}")


def expect_same(first: pathlib.Path, second: pathlib.Path) -> None:
    """Both runs found the same."""
    for file in first.rglob("[!.]*.json"):
        check(
            json.loads(file.read_text()) == json.loads((second / file.relative_to(first)).read_text()), f"{file.name}"
        )


if __name__ == "__main__":
    main()
