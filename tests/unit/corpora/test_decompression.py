import gzip
import io
import json
import struct
import zlib

import pyarrow as pa
import pytest
import zstandard

from longspan.corpora.decompression import DecoderLimitError, decompressed
from longspan.corpora.raw_files import UnreadableFileError, read_bytes, read_rows
from refusals import refused

CONTENT = "".join(json.dumps({"text": f"text {number}"}) + "\n" for number in range(5000)).encode()


def long_frame(content, log_window, *, checksum=False):
    """A frame of raw blocks with a window of 2 ** log_window bytes, as `zstd --long` declares it."""
    parts = [content[start : start + 2**16] for start in range(0, len(content), 2**16)]
    blocks = b"".join(
        struct.pack("<I", len(part) << 3 | (number == len(parts) - 1))[:3] + part
        for number, part in enumerate(parts)
    )
    tail = bytes(4) if checksum else b""
    return struct.pack("<I", 0xFD2FB528) + bytes([4 * checksum, (log_window - 10) << 3]) + blocks + tail


def read(content, compression):
    with decompressed(io.BytesIO(content), compression) as file:
        return file.read()


@pytest.mark.parametrize("log_window", [27, 28, 31])
def test_long_windows_are_read(log_window):
    frame = long_frame(CONTENT, log_window)
    assert read(frame, "zstd") == CONTENT
    skippable = struct.pack("<II", 0x184D2A50, 5) + b"later"
    for content in (
        frame + frame,
        skippable + frame + skippable + frame,
        frame + zstandard.compress(CONTENT),
    ):
        assert read(content, "zstd") == 2 * CONTENT


def test_a_window_for_all_of_a_large_text_is_read():
    """A frame without a window of its own has one as long as its content."""
    content = bytes(2**27 + 2**17)
    block = struct.pack("<I", 2**17 << 3 | 1 << 1)[:3] + b"\0"  # one byte, so many times
    last = bytes([block[0] | 1]) + block[1:]
    frame = struct.pack("<IBI", 0xFD2FB528, 0b1010_0000, len(content)) + block * 2**10 + last
    assert zstandard.get_frame_parameters(frame).window_size > 2**27
    assert read(frame, "zstd") == content


@pytest.mark.parametrize("left", [3, 7, 8, 1000, -1, -70000])
def test_a_long_window_that_is_cut_short_is_damage(left):
    frame = long_frame(CONTENT, 31)
    with pytest.raises((OSError, zstandard.ZstdError)):
        read(frame[:left], "zstd")
    with pytest.raises((OSError, zstandard.ZstdError)):
        read(frame + frame[:left], "zstd")


def test_windows_that_no_decoder_takes_are_a_limit(tmp_path):
    for content in (long_frame(CONTENT, 32), zstandard.compress(b"before") + long_frame(CONTENT, 31)):
        with pytest.raises(DecoderLimitError):
            read(content, "zstd")
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(long_frame(CONTENT, 32))
    reason = "ZSTD decompress failed: Frame requires too much memory for decoding"
    with refused(
        f"{path} cannot be read here ({reason}: a Zstandard window as `zstd --long` makes); nothing is left "
        "out for that: mend it and run the same target again"
    ):
        list(read_rows(str(path), None, "jsonl", "utf-8"))


@pytest.mark.parametrize("padding", [0, 1, 511, 200_000])
def test_zeros_behind_gzip_members_are_passed_over(padding):
    content = gzip.compress(CONTENT) + gzip.compress(b"more") + bytes(padding)
    assert read(content, "gzip") == CONTENT + b"more"


def test_other_bytes_behind_a_gzip_member_are_damage(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(CONTENT) + b"no gzip")
    *rows, fault = read_rows(str(path), None, "jsonl", "utf-8")
    assert (len(rows), fault.reason) == (5000, "bad file")


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_each_damage_is_a_fault_of_the_file(tmp_path, ending):
    path = tmp_path / f"a.txt{ending}"
    summed = zstandard.ZstdCompressor(write_checksum=True)
    whole = gzip.compress(CONTENT) if ending == ".gz" else summed.compress(CONTENT)
    for place in range(0, len(whole), 97):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            found = read_bytes(str(path), None)
        except UnreadableFileError:
            continue  # a header that asks for a huge window
        assert found == CONTENT or found.reason == "bad file"


def test_errors_are_those_that_readers_expect():
    for compression, content in (("gzip", gzip.compress(CONTENT)), ("zstd", zstandard.compress(CONTENT))):
        for left in range(1, len(content), 501):
            with pytest.raises((OSError, EOFError, zlib.error, zstandard.ZstdError, pa.ArrowException)):
                read(content[:left], compression)
        assert read(b"", compression) == b""
