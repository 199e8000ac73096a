"""The Python client against a server with TLS, certificates of clients and tokens.

python secure.py HOST:PORT FOLDER TOKEN    FOLDER holds ca, client and stranger, as `run` makes them
"""

import asyncio
import pathlib
import sys

from sed_serve_client import AsyncClient, Client, SedError, Unauthenticated, Unavailable


def main() -> None:
    """The right credentials, then one after the other wrong."""
    target, folder, token = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
    ours = {"ca": folder / "ca.pem", "certificate": folder / "client.pem", "key": folder / "client.key"}
    with Client(target, token=token, **ours) as client:
        assert client.server_info().model.name
        names = [vocabulary.name for vocabulary in client.list_vocabularies()]
        assert "ade20k-150" in names
    with Client(f"https://{target}", token=token, **{name: path.read_bytes() for name, path in ours.items()}) as client:
        assert client.server_info().model.name
    asyncio.run(asynchronous(target, token, ours))

    assert failure(Unauthenticated, target, **ours).reason == "TOKEN_MISSING"
    assert failure(Unauthenticated, target, token="0123456789abcdef", **ours).reason == "TOKEN_INVALID"
    failure(Unavailable, target, token=token, ca=ours["ca"])
    strange = {"certificate": folder / "stranger.pem", "key": folder / "stranger.key"}
    failure(Unavailable, target, token=token, ca=ours["ca"], **strange)
    failure(Unavailable, target, token=token, **{**ours, "ca": folder / "other-ca.pem"})
    failure(Unavailable, f"http://{target}", token=token)
    print("Python: let in with certificate and token; refused: no or a wrong token or certificate, plaintext")


async def asynchronous(target: str, token: str, ours: dict[str, pathlib.Path]) -> None:
    """The other client takes the same credentials."""
    async with AsyncClient(target, token=token, **ours) as client:
        assert (await client.server_info()).model.name


def failure(kind: type[SedError], target: str, **credentials: object) -> SedError:
    """The error of a client with these credentials."""
    try:
        with Client(target, timeout=20, **credentials) as client:
            client.server_info()
    except kind as error:
        return error
    sys.exit(f"{credentials} were let in")


if __name__ == "__main__":
    main()
