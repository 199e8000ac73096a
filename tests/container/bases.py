"""Folders that stand in for the base images, which cannot be pulled without a container registry: the same Debian
packages from Debian's own archive, and for the Rust image this machine's tool chain."""

import os
import pathlib
import subprocess

from image import Image

# The packages that the slim variant of the official Rust image installs on top of a minimal Debian.
RUST_PACKAGES = ["ca-certificates", "gcc", "libc6-dev"]
# The packages of distroless `cc` of Debian 12. Its build unpacks them without running their scripts, as is done here.
RUNTIME_PACKAGES = ["base-files", "gcc-12-base", "libc6", "libgcc-s1", "libgomp1", "libssl3", "libstdc++6"]
RUNTIME_PACKAGES += ["netbase", "tzdata"]
USERS = "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"
GROUPS = "root:x:0:\nnonroot:x:65532:\n"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


def find(image: str, cache: pathlib.Path) -> Image:
    """The stand-in for an image, made once and stored in `cache`."""
    if image == "rust:1.95-slim-bookworm":
        return rust(cache / "rust")
    if image == "gcr.io/distroless/cc-debian12:nonroot":
        return runtime(cache / "runtime")
    raise SystemExit(f"nothing stands in for {image} here: say in bases.py what it is made of")


def rust(root: pathlib.Path) -> Image:
    """A clean Debian with the tool chain that runs here."""
    version = subprocess.check_output(["rustc", "--version"], text=True)
    assert version.startswith("rustc 1.95."), f"the Dockerfile's Rust is 1.95, here is {version}"
    toolchain = subprocess.check_output(["rustc", "--print", "sysroot"], text=True).strip()
    if not root.exists():
        new = root.with_suffix(".new")
        subprocess.run(["rm", "-rf", new], check=True)
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(RUST_PACKAGES)}", "bookworm"]
        sources = ["http://deb.debian.org/debian", "deb http://deb.debian.org/debian-security bookworm-security main"]
        subprocess.run([*command, new, *sources], check=True, stdout=subprocess.DEVNULL)
        new.rename(root)
    place = "/usr/local/rustup/toolchains/host"
    environment = {"PATH": f"{place}/bin:{SYSTEM_PATH}", "CARGO_HOME": "/usr/local/cargo"}
    return Image(root, environment, binds={toolchain: place})


def runtime(root: pathlib.Path) -> Image:
    """The C library and its like, one user, no shell."""
    if not root.exists():
        new = root.with_suffix(".new")
        subprocess.run(["rm", "-rf", new], check=True)
        for folder in ["packages", "root/etc/ssl/certs", "root/home/nonroot", "root/tmp"]:
            (new / folder).mkdir(parents=True)
        download = ["apt-get", "download", "-qq", "-o=APT::Sandbox::User=root", *RUNTIME_PACKAGES]
        subprocess.run(download, cwd=new / "packages", check=True)
        for package in sorted((new / "packages").iterdir()):
            subprocess.run(["dpkg-deb", "-x", package, new / "root"], check=True)
        made = new / "root"
        (made / "etc/passwd").write_text(USERS)
        (made / "etc/group").write_text(GROUPS)
        (made / CERTIFICATES.lstrip("/")).write_bytes(pathlib.Path(CERTIFICATES).read_bytes())
        (made / "tmp").chmod(0o1777)
        os.chown(made / "home/nonroot", 65532, 65532)
        made.rename(root)
        subprocess.run(["rm", "-rf", new], check=True)
    environment = {"PATH": SYSTEM_PATH, "SSL_CERT_FILE": CERTIFICATES}
    return Image(root, environment, workdir="/home/nonroot")
