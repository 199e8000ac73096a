"""Picture files that are small and ask for much."""

import io
import struct
import zlib

from PIL import Image

MIB = 1 << 20
WIDE = 3200  # pixels: decoded, half of what SMALL allows


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def zeros(size: int) -> bytes:
    """Zlib data of `size` zeros, made without having them: one packed MiB, many times."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(9, zlib.DEFLATED, -15).flush(zlib.Z_FINISH)
    blocks = size // MIB
    adler = ((blocks * MIB) % 65521) << 16 | 1
    return b"\x78\xda" + block * blocks + last + struct.pack(">I", adler)


def _png(side: tuple[int, int], pixels: bytes, *before: bytes) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", *side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(before) + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")


def profile(size: int) -> bytes:
    """A PNG of 16 x 16 pixels with a colour profile of `size` bytes."""
    small = zlib.compress(bytes(16 * (1 + 3 * 16)))
    return _png((16, 16), small, png_chunk(b"iCCP", b"p\0\0" + zeros(size)))


def text(size: int) -> bytes:
    """The same with a comment."""
    small = zlib.compress(bytes(16 * (1 + 3 * 16)))
    return _png((16, 16), small, png_chunk(b"zTXt", b"Comment\0\0" + zeros(size)))


def large_png() -> bytes:
    """A PNG of as many pixels as are allowed; they take more memory than is."""
    return _png((16000, 4000), zeros(192 * MIB))


def by_pillow(kind: str, side: int = WIDE, **options: object) -> bytes:
    """A picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (side, side), (90, 120, 30)).save(file, kind, **options)
    return file.getvalue()


def many_scans(scans: int = 95) -> bytes:
    """A progressive JPEG that refines the same coefficients again and again."""
    whole = by_pillow("jpeg", progressive=True)
    position, pieces = 2, []  # from one marker to the next
    while position < len(whole):
        end = position + 2
        while end < len(whole) and not (whole[end] == 0xFF and whole[end + 1] not in (0, *range(0xD0, 0xD8))):
            end += 1
        pieces.append(whole[position:end])
        position = end
    last = max(number for number, piece in enumerate(pieces) if piece[1] == 0xDA)
    return b"\xff\xd8" + b"".join(pieces[:last]) + pieces[last] * scans + b"".join(pieces[last + 1 :])


def wide_gif() -> bytes:
    """A GIF whose screen is as large as GIF can say, with a frame of one pixel."""
    file = io.BytesIO()
    Image.new("P", (1, 1)).save(file, "gif")
    return file.getvalue()[:6] + struct.pack("<HH", 65535, 65535) + file.getvalue()[10:]


BOMBS = {
    "png": lambda: by_pillow("png"),
    "png, large": large_png,
    "png, text": lambda: text(512 * MIB),
    "png, a little too large": lambda: by_pillow("png", 4600),
    "jpeg": lambda: by_pillow("jpeg"),
    "jpeg, progressive": lambda: by_pillow("jpeg", progressive=True),
    "gif": lambda: by_pillow("gif"),
    "gif, wide": wide_gif,
    "tiff": lambda: by_pillow("tiff", compression="tiff_adobe_deflate"),
    "webp": lambda: by_pillow("webp", lossless=True, quality=0, method=0),
}
