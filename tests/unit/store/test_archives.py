"""Archives are bounded before they are unpacked, and what is wrong with one is a sentence."""

import gzip
import io
import lzma
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from longspan.store.archives import ALWAYS_BYTES, UnpackingBudget, read_members

ZEROS = b"\0" * 2**20


def write_tar(path, mode, members):
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))


def write_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.xz"])
def test_members_come_back_by_name(tmp_path, name):
    members = {"texts/a.txt": b"one", "texts/b.txt": b"two", "n" * 300: b"a long name"}
    write = write_zip if name == "a.zip" else lambda path, all: write_tar(path, f"w:{name[6:]}", all)
    write(tmp_path / name, members)
    assert read_members(tmp_path / name) == members


@pytest.fixture(params=["gz", "xz", "zip"])
def bomb(request, tmp_path):
    """A small archive of 2 GiB of zeros."""
    path = tmp_path / f"bomb.{request.param}"
    size = 2 * ALWAYS_BYTES
    if request.param == "zip":
        packed = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
        with packed as archive, archive.open("zeros", "w", force_zip64=True) as member:
            for _ in range(size // len(ZEROS)):
                member.write(ZEROS)
        return path
    header = tarfile.TarInfo("zeros")
    # The header says so; what follows need not even be there.
    header.size = size
    content = header.tobuf() + ZEROS
    if request.param == "xz":
        path.write_bytes(lzma.compress(content))
    else:
        path.write_bytes(gzip.compress(content))
    return path


def test_what_would_become_too_large_is_refused_before_it_is_unpacked(bomb):
    program = (
        "import resource, sys\n"
        "from longspan.store.archives import read_members\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({ALWAYS_BYTES}, {ALWAYS_BYTES}))\n"
        "try:\n    read_members(sys.argv[1])\n"
        "except ValueError as error:\n    print(error)\n"
    )
    workflow = str(Path(__file__).parents[3] / "workflow")
    result = subprocess.run(
        [sys.executable, "-c", program, str(bomb)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": workflow},
        timeout=60,
    )
    assert result.stdout == (
        f"{bomb} has {bomb.stat().st_size:,} bytes and would become more than "
        f"{max(ALWAYS_BYTES, 100 * bomb.stat().st_size):,}, out of all proportion; unpack it yourself if "
        "that is right\n"
    ), result.stderr


def test_a_long_header_is_refused(tmp_path):
    path = tmp_path / "a.tar"
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2**31
    path.write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(ValueError, match=r"is no whole archive \(.*a header of 2,147,483,648 bytes"):
        read_members(path)


def test_an_encrypted_zip_is_refused_in_one_sentence(tmp_path):
    path = tmp_path / "a.zip"
    write_zip(path, {"a.txt": b"one"})
    content = bytearray(path.read_bytes())
    # The flag of a password, in the member's header and in the directory.
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(mark) + offset] |= 1
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"a\.zip cannot be unpacked \(.*password.*\); pack it anew, without"
    ):
        read_members(path)


@pytest.mark.parametrize("content", [b"", b"PK\5\6", b"\x1f\x8b broken", b"plain text"])
def test_what_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a is no whole archive \(.*\); delete it to fetch it again"):
        read_members(path)


def test_the_budget_grows_with_the_file():
    small, large = UnpackingBudget("x", 4000), UnpackingBudget("x", 2**30)
    assert (small.limit_bytes, large.limit_bytes) == (ALWAYS_BYTES, 100 * 2**30)
    small.take(ALWAYS_BYTES)
    with pytest.raises(ValueError, match="x has 4,000 bytes and would become more than 1,073,741,824, out"):
        small.take(1)
