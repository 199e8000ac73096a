"""Bulk runs over two replicas: plain, interrupted and resumed, and with Ray while an actor and a replica are killed.

python killed.py FOLDER
"""

import collections
import contextlib
import io
import json
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import psutil
from PIL import Image
from processes import NETWORK, PATIENCE, Replica, check, until
from pycocotools.coco import COCO

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "clients" / "python" / "examples"
SCENES = ROOT / "models" / "sed-tiny" / "examples"
WORDS = "cow, house|barn, tree, grass, sky, dog, car, road"
FEW_WORDS = "cow, house|barn, tree"
AWAY = f"{NETWORK}.99:50051"  # no server listens there
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
        refused(folder, one)
        few_words(folder, pictures, one)
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


def example(
    name: str, pictures: pathlib.Path, results: pathlib.Path, *arguments: object, words: str = WORDS
) -> subprocess.Popen[bytes]:
    """Starts an example, which prints into files beside its results."""
    paths = [str(EXAMPLES / name), str(pictures), str(results)]
    command = [sys.executable, *paths, *map(str, arguments), "--words", words]
    with printed(results, "out").open("w") as output, printed(results, "err").open("w") as errors:
        return subprocess.Popen(command, stdout=output, stderr=errors)


def printed(results: pathlib.Path, kind: str) -> pathlib.Path:
    """The file that an example prints into."""
    return results.with_suffix(f".{kind}")


def end(process: subprocess.Popen[bytes], results: pathlib.Path, failed: int = 1) -> str:
    """Waits for an example's end, which says how many pictures failed; returns its line of figures."""
    process.wait(timeout=PATIENCE)
    errors = printed(results, "err").read_text()
    check(process.returncode == min(failed, 1), f"the example ended with {process.returncode}: {errors[-3000:]}")
    check((f"error: {failed} picture failed: " in errors) == (failed > 0), f"failed pictures: {errors[-3000:]}")
    check(" pictures/s\n" in errors, "no line of progress")
    return next(line for line in printed(results, "out").read_text().splitlines() if " a second" in line)


def refused(folder: pathlib.Path, one: str) -> None:
    """Errors of the command line and of the question end an example at once."""
    (folder / "empty").mkdir()
    cases = [("missing", WORDS, "is not a folder"), ("empty", WORDS, "holds no pictures")]
    cases.append(("pictures", "cow, Cow", "CATEGORY_DUPLICATE"))
    for name, words, message in cases:
        results = folder / f"refused-{name}"
        process = example("bulk_asyncio.py", folder / name, results, "--servers", one, words=words)
        process.wait(timeout=PATIENCE)
        errors = printed(results, "err").read_text()
        check(process.returncode == 1 and message in errors, f"{name}: {process.returncode}, {errors}")
        check(count(results) == 0, "a question that no picture can help was counted as a picture's failure")


def few_words(folder: pathlib.Path, pictures: pathlib.Path, one: str) -> None:
    """Few words have contrast words; a picture that failed is tried again if that is asked for; COCO reads it all."""
    some, results = folder / "some", folder / "few"
    some.mkdir()
    for file in sorted((pictures / "day0").iterdir())[:6]:
        (some / file.name).symlink_to(file)
    (some / "damaged.jpg").write_bytes(b"no picture")
    servers = ["--servers", f"{AWAY},{one}", "--in-flight", 2]  # the first one gets pictures, too
    end(example("bulk_asyncio.py", some, results, *servers, words=FEW_WORDS), results)
    lines = printed(results, "err").read_text().splitlines()
    waiting = [line for line in lines if line.startswith(f"waiting for {AWAY}: UNAVAILABLE")]
    check(len(waiting) == 1, f"not one line on a server that is away: {lines}")
    off = example("bulk_asyncio.py", some, folder / "off", "--servers", one, "--contrast", "off", words=FEW_WORDS)
    end(off, folder / "off")
    check(sum(areas(folder / "off")) == 6 * 320 * 240 > sum(areas(results)), "--contrast off has no effect")
    scores = mean_score(results), mean_score(folder / "off")
    check(scores[0] > 0.5 > scores[1], f"mean scores with and without contrast words: {scores}")

    (some / "damaged.jpg").unlink()
    (some / "damaged.jpg").symlink_to(pictures / "day1" / "1.jpg")
    end(example("bulk_asyncio.py", some, results, "--servers", one, words=FEW_WORDS), results)
    check(len(list(results.glob("*.error.json"))) == 1, "a picture that failed was tried again unasked")
    again = example("bulk_asyncio.py", some, results, "--servers", one, "--retry-failed", words=FEW_WORDS)
    end(again, results, failed=0)
    expect_coco(read(results), 7)

    file = folder / "annotations.json"
    images = [{"id": 100 + at, "file_name": picture.name} for at, picture in enumerate(sorted(some.iterdir()))]
    file.write_text(json.dumps({"images": images}))
    numbered = folder / "numbered"
    ask = ["bulk_asyncio.py", some, numbered, "--servers", one, "--annotations", file]
    end(example(*ask, words=FEW_WORDS), numbered, failed=0)
    check(sorted(result["image_id"] for result in read(numbered)) == list(range(100, 107)), "other image ids")
    check({found["image_id"] for result in read(numbered) for found in result["found"]} <= set(range(100, 107)), "ids")
    expect_coco(read(numbered), 7)


def areas(results: pathlib.Path) -> list[int]:
    """The areas of all that was found."""
    return [found["area"] for result in read(results) for found in result.get("found", [])]


def mean_score(results: pathlib.Path) -> float:
    """The mean score of all pixels that have a category."""
    found = [one for result in read(results) for one in result.get("found", [])]
    return float(np.average([one["score"] for one in found], weights=[one["area"] for one in found]))


def expect_coco(results: list[dict], pictures: int) -> None:
    """The results of all pictures are those of one COCO data set, whose categories are the same words."""
    images = []
    for result in results:
        width, height = result["size"]
        images.append({"id": result["image_id"], "file_name": result["file_name"], "width": width, "height": height})
        check(result["categories"] == {"1": "cow", "2": "house", "3": "tree"}, f"{result['categories']}")
    categories = [{"id": int(number), "name": name} for number, name in results[0]["categories"].items()]
    data = COCO()
    data.dataset = {"images": images, "categories": categories}
    found = [one for result in results for one in result["found"]]
    pixels = [one["area"] for one in found]  # loadRes writes the areas of the boxes in their place
    with contextlib.redirect_stdout(io.StringIO()):
        data.createIndex()
        loaded = data.loadRes(found)
    check(len(data.imgs) == pictures and len(loaded.anns) == len(found) > 0, "COCO has lost something")
    read_back = [int(loaded.annToMask(loaded.anns[number]).sum()) for number in sorted(loaded.anns)]
    check(read_back == pixels, "COCO has other masks")


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
    times = {file: file.stat().st_mtime_ns for file in files_of(folder / "both")}
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
    return len(files_of(results))


def read(results: pathlib.Path) -> list[dict]:
    """The contents of all results."""
    return [json.loads(file.read_text()) for file in files_of(results)]


def files_of(results: pathlib.Path) -> list[pathlib.Path]:
    """The files of all results; `run.json` is none."""
    return sorted(file for file in results.rglob("[!.]*.json") if file != results / "run.json")


def expect_once(pictures: pathlib.Path, results: pathlib.Path) -> None:
    """Each picture has one result, a whole one; the file that is no picture has its error."""
    found = read(results)
    times = collections.Counter(result["file_name"] for result in found)
    expected = {str(file.relative_to(pictures)) for file in pictures.rglob("*") if file.is_file()}
    check(set(times) == expected, f"{len(expected - set(times))} pictures have no result")
    check(set(times.values()) == {1}, "a picture has two results")
    failed = {result["file_name"]: result["error"]["reason"] for result in found if "error" in result}
    check(failed == {"damaged.jpg": "IMAGE_UNSUPPORTED"}, f"errors: {failed}")


def expect_same(first: pathlib.Path, second: pathlib.Path) -> None:
    """Both runs found the same."""
    for file in files_of(first):
        check(
            json.loads(file.read_text()) == json.loads((second / file.relative_to(first)).read_text()), f"{file.name}"
        )


if __name__ == "__main__":
    main()
