"""Picture files that no program writes: their headers name more than a decoder should make room for."""

import io
import struct
import zlib

from PIL import Image

SHORT, LONG, BYTES = 3, 4, 7  # field types of TIFF
Values = tuple[int, list[int] | bytes]


def _values(kind: int, values: list[int] | bytes) -> bytes:
    if isinstance(values, bytes):
        return values
    return b"".join(struct.pack("<H" if kind == SHORT else "<I", value) for value in values)


def tiff(fields: dict[int, Values], content: bytes) -> bytes:
    """A little-endian TIFF: a directory of these fields, their values, and the content, whose place stands for 0 in the
    fields of offsets (273, 324)."""
    head = 8 + 2 + 12 * len(fields) + 4
    sizes = {tag: len(_values(*value)) for tag, value in fields.items()}
    at, places = head, {}
    for tag, size in sizes.items():
        if size > 4:
            places[tag], at = at, at + size + size % 2
    directory, behind = struct.pack("<H", len(fields)), b""
    for tag, (kind, values) in sorted(fields.items()):
        if tag in (273, 324) and not isinstance(values, bytes):
            values = [value + at for value in values]
        data = _values(kind, values)
        place = struct.pack("<I", places[tag]) if tag in places else data.ljust(4, b"\0")
        directory += struct.pack("<HHI", tag, kind, len(values)) + place
    for tag in places:
        kind, values = fields[tag]
        if tag in (273, 324) and not isinstance(values, bytes):
            values = [value + at for value in values]
        data = _values(kind, values)
        behind += data + b"\0" * (len(data) % 2)
    return b"II*\0" + struct.pack("<I", 8) + directory + struct.pack("<I", 0) + behind + content


def _usual(samples: int, compression: int) -> dict[int, Values]:
    """16 x 16 pixels of `samples` bytes each."""
    colours = 2 if samples >= 3 else 1
    return {
        256: (LONG, [16]),
        257: (LONG, [16]),
        258: (SHORT, [8] * samples),
        259: (SHORT, [compression]),
        262: (SHORT, [colours]),
        277: (SHORT, [samples]),
    }


def _tiled(samples: int, width: int, packed: bytes) -> bytes:
    tile: dict[int, Values] = {322: (LONG, [width]), 323: (LONG, [16]), 324: (LONG, [0]), 325: (LONG, [len(packed)])}
    return tiff(_usual(samples, 8) | tile | {338: (SHORT, [0] * (samples - 3))}, packed)


def tiff_of_many_samples() -> bytes:
    """Tiles as wide as a number can say, of 32 samples a pixel."""
    return _tiled(32, 0xFFFFFFF0, zlib.compress(bytes(4096)))


def tiff_with_a_wide_tile() -> bytes:
    """A row of the one tile takes a GiB."""
    return _tiled(4, 1 << 28, zlib.compress(bytes(1 << 24)))


def _stripped(strips: int, packed: bytes, more: dict[int, Values]) -> bytes:
    listed: dict[int, Values] = {
        273: (LONG, [0] * strips),
        278: (LONG, [16 if strips == 1 else 1]),
        279: (LONG, [len(packed)] * strips),
    }
    return tiff(_usual(3, 7) | listed | more, packed)


def _jpeg(side: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side)).save(file, "jpeg", subsampling=0)
    return file.getvalue()


def tiff_whose_strips_are_one() -> bytes:
    """All of 2^18 strips are the same JPEG of two MB, most of it fill bytes."""
    picture = _jpeg(16)
    return _stripped(1 << 18, picture[:-2] + b"\1" * (2 << 20) + picture[-2:], {})


def tiff_with_large_tables() -> bytes:
    """The tables of its JPEG data hold a frame of 16384 x 16384."""
    tables = bytearray(_jpeg(16))
    frame = tables.index(b"\xff\xc0")
    tables[frame + 5 : frame + 9] = struct.pack(">HH", 16384, 16384)
    return _stripped(1, _jpeg(16), {347: (BYTES, bytes(tables))})


def jpeg_without_its_last_component(side: int = 2800) -> bytes:
    """Four components, of which the only scan has three: the decoder keeps the coefficients of all."""
    file = io.BytesIO()
    Image.new("RGB", (side, side), (7, 99, 200)).save(file, "jpeg", subsampling=0)
    picture = file.getvalue()
    at = picture.index(b"\xff\xc0")
    length = int.from_bytes(picture[at + 2 : at + 4], "big")
    frame = picture[at + 4 : at + 2 + length]
    frame = frame[:5] + b"\4" + frame[6:] + b"\4\x11\1"
    return picture[:at] + b"\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame + picture[at + 2 + length :]


class _Bits:
    """Bits, the least first."""

    def __init__(self) -> None:
        self._out, self._held, self._count = bytearray(), 0, 0

    def put(self, value: int, count: int) -> None:
        """Adds the lowest bits of a value."""
        self._held |= value << self._count
        self._count += count
        while self._count >= 8:
            self._out.append(self._held & 255)
            self._held >>= 8
            self._count -= 8

    def bytes(self) -> bytes:
        """All of them."""
        return bytes(self._out) + bytes([self._held])


# The order in which a lossless WebP lists the lengths of the codes for code lengths.
ORDER = [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
LENGTHS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10]  # of eleven symbols: a table of 1024 entries


def _put_large_code(bits: _Bits) -> None:
    """A code of eleven symbols, in some twelve bytes."""
    of_lengths = {length: 3 if length <= 5 or length == 10 else 4 for length in range(1, 11)}
    bits.put(0, 1)
    bits.put(len(ORDER) - 5 - 4, 4)
    for length in ORDER[:14]:
        bits.put(of_lengths.get(length, 0), 3)
    codes, code = {}, 0
    for size in (3, 4):
        for length in (length for length, its in of_lengths.items() if its == size):
            codes[length] = (int(f"{code:0{size}b}"[::-1], 2), size)
            code += 1
        code <<= 1
    bits.put(1, 1)
    bits.put(1, 3)
    bits.put(len(LENGTHS) - 2, 4)
    for length in LENGTHS:
        bits.put(*codes[length])


def webp_of_many_groups(side: int = 505, groups: int = 19_500) -> bytes:
    """A lossless WebP with this many groups of five codes, none of which is used but the last."""
    bits = _Bits()
    bits.put(0x2F, 8)
    bits.put(side - 1, 14)
    bits.put(side - 1, 14)
    bits.put(0, 1 + 3 + 1 + 1)  # no opacity, version 0, no transform, no colour cache
    bits.put(1, 1)
    bits.put(7, 3)  # blocks of 512 pixels: the picture is one
    bits.put(0, 1)
    for symbol in ((groups - 1) & 255, (groups - 1) >> 8, 0, 0, 0):
        bits.put(0b101, 3)  # a code of one symbol of eight bits
        bits.put(symbol, 8)
    for _ in range(5 * groups):
        _put_large_code(bits)
    stream = bits.bytes() + bytes(side * side // 2 + 16)
    chunk = b"VP8L" + struct.pack("<I", len(stream)) + stream + b"\0" * (len(stream) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


CRAFTED = {
    "tiff, many samples": tiff_of_many_samples,
    "tiff, wide tile": tiff_with_a_wide_tile,
    "tiff, strips in one place": tiff_whose_strips_are_one,
    "tiff, large tables": tiff_with_large_tables,
    "jpeg, a component without a scan": jpeg_without_its_last_component,
    "webp, many groups": webp_of_many_groups,
}
