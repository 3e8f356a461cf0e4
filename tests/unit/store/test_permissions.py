"""Files follow the umask, so that a group can go on; private folders are their owner's alone."""

import os

import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file

from longspan.store.locks import exclusive_lock
from longspan.store.permissions import current_umask, follow_umask, make_private
from longspan.store.tables import atomic_path, write_table
from refusals import refused

REMEDY = "; remove it, or set TMPDIR to a folder of your own"


@pytest.fixture(params=[0o002, 0o022, 0o077])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path):
    return path.stat().st_mode & 0o777


def test_what_is_written_has_the_permissions_that_the_umask_allows(umask, tmp_path):
    with atomic_path(tmp_path / "text") as temporary:
        temporary.write_text("text")
    write_table(tmp_path / "kept", "kept_windows", pa.table({"data_id": ["a"]}), settings={})
    with exclusive_lock(tmp_path / "lock"):
        pass
    save_file({"a": torch.zeros(1)}, tmp_path / "weights.safetensors")
    follow_umask(tmp_path)
    assert current_umask() == umask
    assert {mode(path) for path in tmp_path.iterdir()} == {0o666 & ~umask}


def test_links_and_what_they_lead_to_stay(umask, tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.write_text("another's")
    outside.chmod(0o600)
    (inside / "link").symlink_to(outside)
    follow_umask(inside)
    assert mode(outside) == 0o600


def test_a_private_folder_is_made_or_checked(tmp_path):
    folder = tmp_path / "mine"
    make_private(folder)
    make_private(folder)
    assert mode(folder) == 0o700
    folder.chmod(0o770)
    with refused(f"{folder} is open to others (mode 770){REMEDY}", OSError):
        make_private(folder)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    with refused(f"{link} is a link{REMEDY}", OSError):
        make_private(link)
    (tmp_path / "file").touch()
    with refused(f"{tmp_path / 'file'} is no folder{REMEDY}", OSError):
        make_private(tmp_path / "file")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to give a folder away")
def test_another_users_folder_is_refused(tmp_path):
    folder = tmp_path / "theirs"
    folder.mkdir(0o700)
    os.chown(folder, 12345, 12345)
    with refused(
        f"{folder} belongs to another user (uid 12345){REMEDY}",
        OSError,
    ):
        make_private(folder)
