"""Uploads of files to a dataset of the Hugging Face hub, that go on where one broke off."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from longspan.store.tables import digest_file

if TYPE_CHECKING:
    from huggingface_hub import RepoFile

# A commit names its files once they are all sent, so what a broken upload must repeat is at most this.
FILES_PER_COMMIT = 16


def upload_dataset(
    repo: str,
    files: Mapping[str, Path],
    card: Path,
    *,
    private: bool,
    token: str,
    files_per_commit: int = FILES_PER_COMMIT,
) -> dict:
    """Make a dataset hold these files and no others in their folders; what it holds already stays.

    The card goes last, so that a new dataset is whole when it has one. HF_ENDPOINT names another hub.

    Args:
        repo: the dataset, owner/name; made if it is not there.
        files: data files by their path in the dataset.
        card: its README.md.
        private: whether the dataset is private, if it is made.
        token: of a user who may write there.
        files_per_commit: files that one commit adds.

    Returns:
        `repo`, `commit` and `uploaded`, the paths that were sent.

    Raises:
        ValueError: the hub refused, or the connection broke; or the dataset is public and shall be private.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, RepoFile

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token)
    with _naming_faults(repo):
        api.create_repo(repo, repo_type="dataset", private=private, exist_ok=True)
        if private and not api.dataset_info(repo).private:
            raise ValueError(
                f"the dataset {repo} is there and public; set private: false for the export, or name another "
                "repo"
            )
        tree = api.list_repo_tree(repo, repo_type="dataset", recursive=True)
        there = {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}
        missing = [path for path, local in files.items() if not _is_same(there.get(path), local)]
        for start in range(0, len(missing), files_per_commit):
            part = missing[start : start + files_per_commit]
            adds = [CommitOperationAdd(path, files[path]) for path in part]
            message = f"Add files {start + 1} to {start + len(part)} of {len(missing)}"
            api.create_commit(repo, adds, commit_message=message, repo_type="dataset")
            print(f"{repo}: {start + len(part)} of {len(missing)} missing files are there", flush=True)
        folders = {path.rpartition("/")[0] for path in files}
        stale = [path for path in there if path.rpartition("/")[0] in folders and path not in files]
        last = [CommitOperationDelete(path) for path in stale]
        if not _is_same(there.get("README.md"), card):
            last.append(CommitOperationAdd("README.md", card))
            missing.append("README.md")
        if last:
            api.create_commit(repo, last, commit_message="Add the data card", repo_type="dataset")
        return {"repo": repo, "commit": api.dataset_info(repo).sha, "uploaded": missing}


@contextmanager
def _naming_faults(repo: str) -> Iterator[None]:
    from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled

    try:
        yield
    except OfflineModeIsEnabled:
        raise ValueError(f"HF_HUB_OFFLINE is set, so nothing can be uploaded to {repo}; unset it") from None
    except (HTTPError, RuntimeError) as error:
        # A large file's fault is the cause of a RuntimeError.
        reason = " ".join(str(error.__cause__ or error).split())
        raise ValueError(
            f"the upload to {repo} broke off ({reason}); run the same target again: what is there stays"
        ) from None


def _is_same(entry: "RepoFile | None", local: Path) -> bool:
    """Whether a file of the dataset has a local file's content."""
    if entry is None or entry.size != local.stat().st_size:
        return False
    if entry.lfs:
        return entry.lfs.sha256 == digest_file(local)
    content = local.read_bytes()
    return entry.blob_id == hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
