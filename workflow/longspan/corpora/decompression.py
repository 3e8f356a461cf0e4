"""Compressed files as bytes: gzip with padding behind it, Zstandard with windows of up to 2 GiB."""

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import pyarrow as pa
import zstandard

# What `zstd` without `--long` takes, and Arrow; with `--long=31` it is the other.
_WINDOW_BYTES = 2**27
_LONG_WINDOW_BYTES = 2**31
_BUFFER_BYTES = 2**17
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)
_MAGIC = 0xFD2FB528
_CUT = "Truncated compressed stream"


class DecoderLimitError(Exception):
    """A file that asks for more than its decoder gives."""


@contextmanager
def decompressed(file: BinaryIO, compression: str) -> Iterator[BinaryIO]:
    """The bytes that a compressed file holds, "gzip" or "zstd".

    Raises (while it is read too):
        OSError, EOFError, zlib.error, zstandard.ZstdError: the file is damaged or cut short.
        DecoderLimitError: a Zstandard window of more than 2 GiB, or more memory than there is.
    """
    raw = _Gzip(file) if compression == "gzip" else _Zstandard(file)
    with io.BufferedReader(raw, _BUFFER_BYTES) as content:
        yield content


class _Gzip(io.RawIOBase):
    """The content of gzip's members one behind another; zeros behind them are passed over, as gzip does."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._waiting = b""
        self._is_first = True
        self._member = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        while True:
            self._waiting = self._waiting or self._file.read(_BUFFER_BYTES)
            is_end = not self._waiting
            if self._member is None:
                if not self._is_first:
                    self._waiting = self._waiting.lstrip(b"\0")
                if is_end:
                    return 0
                if not self._waiting:
                    continue
                self._member, self._is_first = zlib.decompressobj(wbits=31), False
            content = self._member.decompress(self._waiting, len(buffer))
            self._waiting = self._member.unconsumed_tail
            if self._member.eof:
                self._waiting, self._member = self._member.unused_data, None
            elif is_end and not content:
                raise EOFError(_CUT)
            if content:
                buffer[: len(content)] = content
                return len(content)


class _Zstandard(io.RawIOBase):
    """The content of a Zstandard file, by Arrow or, where a window is long, by zstandard."""

    def __init__(self, file: BinaryIO):
        self._file = file
        frame = _first_frame(file)
        self._is_long = frame is not None and frame.window_size > _WINDOW_BYTES
        if self._is_long:
            if frame.window_size > _LONG_WINDOW_BYTES:
                raise DecoderLimitError(f"a Zstandard window of {frame.window_size:,} bytes")
            decoder = zstandard.ZstdDecompressor(max_window_size=_LONG_WINDOW_BYTES)
            self._content = decoder.stream_reader(file, read_across_frames=True, closefd=False)
        else:
            self._content = pa.CompressedInputStream(file, "zstd")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        try:
            content = self._content.read(len(buffer))
        except (OSError, zstandard.ZstdError) as error:
            if "memory" in str(error):
                raise DecoderLimitError(f"{error}: a Zstandard window as `zstd --long` makes") from None
            raise
        if not content and self._is_long:
            _require_whole_frames(self._file)
        buffer[: len(content)] = content
        return len(content)


def _first_frame(file: BinaryIO) -> "zstandard.FrameParameters | None":
    """Parameters of the first frame; None where there is none."""
    file.seek(0)
    try:
        while True:
            head = file.read(18)
            if int.from_bytes(head[:4], "little") not in _SKIPPABLE or len(head) < 8:
                return zstandard.get_frame_parameters(head) if head else None
            file.seek(int.from_bytes(head[4:8], "little") + 8 - len(head), io.SEEK_CUR)
    except zstandard.ZstdError:
        return None
    finally:
        file.seek(0)


def _require_whole_frames(file: BinaryIO) -> None:
    """Refuse a file whose last frame has no end, which the reader of long windows passes over in silence."""
    size = file.seek(0, io.SEEK_END)
    place = 0
    while place < size:
        file.seek(place)
        head = file.read(18)
        magic = int.from_bytes(head[:4], "little")
        if magic in _SKIPPABLE:
            place += 8 + int.from_bytes(head[4:8], "little")
            continue
        if magic != _MAGIC:
            raise OSError("what follows the last Zstandard frame is none")
        frame = zstandard.get_frame_parameters(head)
        place += zstandard.frame_header_size(head)
        is_last = False
        while not is_last:
            file.seek(place)
            block = file.read(3)
            if len(block) < 3:
                raise OSError(_CUT)
            value = int.from_bytes(block, "little")
            is_last, kind, length = bool(value & 1), value >> 1 & 3, value >> 3
            place += 3 + (1 if kind == 1 else length)
        place += 4 * frame.has_checksum
    if place > size:
        raise OSError(_CUT)
