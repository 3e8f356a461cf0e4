"""Uploads of files to a dataset of the Hugging Face hub, that go on where one broke off."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from longspan.store.tables import digest_file

if TYPE_CHECKING:
    from huggingface_hub import HfApi, RepoFile

# A commit names its files once they are all sent, so what a broken upload must repeat is at most this.
FILES_PER_COMMIT = 16
CARD = "README.md"
# Hidden, so that it is taken for no data of the dataset.
RECORD = ".longspan.json"


def upload_dataset(
    repo: str,
    files: Mapping[str, Path],
    card: Path,
    *,
    private: bool,
    token: str,
    files_per_commit: int = FILES_PER_COMMIT,
) -> dict:
    """Make a dataset hold these files; what it holds of them already stays.

    The dataset's `.longspan.json` names the files that longspan wrote there. It goes first. Of what else is
    there nothing is touched, and a dataset that holds something, but not this record, is refused. The card
    goes last, so that a new dataset is whole when it has one. HF_ENDPOINT names another hub.

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
        ValueError: the hub refused, or the connection broke; the dataset is public and shall be private, or
            it holds what longspan did not write.
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
        written = _written_before(api, repo, there, files)
        missing = [path for path, local in files.items() if not _is_same(there.get(path), local)]
        stale = [path for path in there if path in written and path not in files]
        is_card_new = not _is_same(there.get(CARD), card)
        if missing or stale or is_card_new:
            sent = [*missing, *([CARD] if is_card_new else [])]
            print(f"{repo}: {_listed(sent)} to write, {_listed(stale)} to delete", flush=True)
        # What an upload that breaks off leaves is longspan's, too.
        record = _record(written | files.keys())
        adds = [CommitOperationAdd(RECORD, record)] if written != files.keys() else []
        for start in range(0, len(missing), files_per_commit):
            part = missing[start : start + files_per_commit]
            adds += [CommitOperationAdd(path, files[path]) for path in part]
            message = f"Add files {start + 1} to {start + len(part)} of {len(missing)}"
            api.create_commit(repo, adds, commit_message=message, repo_type="dataset")
            adds = []
            print(f"{repo}: {start + len(part)} of {len(missing)} missing files are there", flush=True)
        last = [CommitOperationDelete(path) for path in stale]
        if stale or adds:
            last.append(CommitOperationAdd(RECORD, _record(files)))
        if is_card_new:
            last.append(CommitOperationAdd(CARD, card))
            missing.append(CARD)
        if last:
            api.create_commit(repo, last, commit_message="Add the data card", repo_type="dataset")
        return {"repo": repo, "commit": api.dataset_info(repo).sha, "uploaded": missing}


def _written_before(
    api: "HfApi", repo: str, there: Mapping[str, "RepoFile"], files: Mapping[str, Path]
) -> set[str]:
    """Paths that longspan wrote, as the dataset's record names them."""
    if RECORD in there:
        with tempfile.TemporaryDirectory() as folder:
            path = api.hf_hub_download(repo, RECORD, repo_type="dataset", local_dir=folder)
            try:
                return set(json.loads(Path(path).read_text())["files"])
            except (ValueError, TypeError, KeyError) as error:
                raise ValueError(
                    f"the record {RECORD} of the dataset {repo} cannot be read ({error!r}); put there "
                    '{"files": []}, and what is there stays, or name another repo'
                ) from None
    # The hub's own, in a new dataset.
    if others := sorted(there.keys() - {".gitattributes"}):
        raise ValueError(
            f"the dataset {repo} holds {_listed(others)} and no {RECORD}, so that longspan did not write it, "
            f"and {_listed([*files, CARD])} would be written there; name another repo, empty this one, or "
            f'put a {RECORD} with {{"files": []}} there to have these files written beside the others'
        )
    return set()


def _record(paths: Iterable[str]) -> bytes:
    return (json.dumps({"files": sorted(paths)}, indent=1) + "\n").encode()


def _listed(paths: Sequence[str]) -> str:
    """How many files, and the first of them."""
    if not paths:
        return "no file"
    more = ", …" if len(paths) > 3 else ""
    return f"{len(paths)} file{'s' if len(paths) > 1 else ''} ({', '.join(paths[:3])}{more})"


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
