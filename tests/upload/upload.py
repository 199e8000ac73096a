"""Uploads one large picture to $SED_ADDRESS, straight and over a slow line, and compares times and answers."""

import asyncio
import hashlib
import os
import random
import statistics
import sys
import time
from pathlib import Path

from PIL import Image

ONE_WAY = 0.025  # seconds
WIDTH, HEIGHT = 2000, 1700  # 10.2 MB of noise, which no PNG makes smaller
ROUNDS = 3


def picture(path: Path) -> None:
    noise = random.Random(7).randbytes(3 * WIDTH * HEIGHT)
    Image.frombytes("RGB", (WIDTH, HEIGHT), noise).save(path, compress_level=0)


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Brings bytes from one end to the other, each a while after it came, however many are under way."""
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        while True:
            due, data = await under_way.get()
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if not data:
                writer.close()
                return
            writer.write(data)

    delivering = asyncio.create_task(deliver())
    while True:
        try:
            data = await reader.read(1 << 18)
        except ConnectionError:
            data = b""
        under_way.put_nowait((time.monotonic() + ONE_WAY, data))
        if not data:
            await delivering
            return


async def slow_line(address: str, connections: list[asyncio.Task[None] | None]) -> asyncio.Server:
    host, port = address.rsplit(":", 1)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.current_task())
        # A connection begins with a round trip as well.
        await asyncio.sleep(2 * ONE_WAY)
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer))

    return await asyncio.start_server(connected, "127.0.0.1", 0)


async def upload(address: str, image: Path, output: Path) -> tuple[float, str]:
    """Seconds, and the digest of the index map that came back."""
    begun = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        os.environ["SED_SERVE"], "segment", image, "--words", "cat, dog, sky", "--contrast", "off",
        "--server", f"http://{address}", "--output", output, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    if await process.wait() != 0:
        sys.exit(f"the upload to {address} failed")
    seconds = time.monotonic() - begun
    return seconds, hashlib.sha256((output / f"{image.stem}.mask.png").read_bytes()).hexdigest()


async def main(label: str, folder: Path) -> None:
    image = folder / "noise.png"
    if not image.exists():
        picture(image)
    server = os.environ["SED_ADDRESS"]
    connections: list[asyncio.Task[None] | None] = []
    line = await slow_line(server, connections)
    far = "127.0.0.1:{}".format(line.sockets[0].getsockname()[1])
    times: dict[str, list[float]] = {server: [], far: []}
    digests = set()
    await upload(server, image, folder)  # the words are embedded, the picture's features known
    for _ in range(ROUNDS):
        for address, seconds in times.items():
            took, digest = await upload(address, image, folder)
            seconds.append(took)
            digests.add(digest)
    line.close()
    await asyncio.gather(*filter(None, connections))
    straight, over = (statistics.median(times[address]) for address in (server, far))
    # Connecting, and the way there and back.
    ideal = straight + 4 * ONE_WAY
    print(
        f"windows of {label}: {image.stat().st_size / 1e6:.1f} MB in {over:.2f} s over 50 ms; "
        f"{straight:.2f} s without the line, so {ideal:.2f} s if nothing waited for a window"
    )
    before = folder / "digest"
    if before.exists():
        digests.add(before.read_text())
    if len(digests) != 1:
        sys.exit("the same picture was answered differently")
    before.write_text(digests.pop())


asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
