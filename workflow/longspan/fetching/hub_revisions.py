"""Repositories of the Hugging Face hub: whether they may be read, and which commit a revision is."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from longspan.fetching.hub_token import require_sendable_token

_COMMIT = re.compile(r"[0-9a-f]{40}")


def pin_revision(kind: str, repo: str, revision: str) -> str:
    """The commit that a revision is now, after a check that the repository may be read.

    Without a network a commit is taken as it is, and a branch or tag as the hub's cache knows it.

    Args:
        kind: "model" or "dataset".
        repo: owner/name.
        revision: commit, branch or tag.

    Raises:
        ValueError: there is no such repository or revision, or access must be asked for.
        OSError: the hub cannot be reached, and the cache does not know the revision.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        with naming_hub_faults(kind, repo, revision):
            api.auth_check(repo, repo_type=kind)
            return api.repo_info(repo, repo_type=kind, revision=revision).sha
    except HfHubHTTPError as error:
        raise OSError(f"the hub answers for {repo}: {_first_line(error)}; try again later") from None
    except OSError:
        if _COMMIT.fullmatch(revision):
            return revision
        if commit := _cached_commit(kind, repo, revision):
            return commit
        raise


def pinned_commit(revisions: Path, pin: str) -> str:
    """The commit that a file of pinned revisions names.

    Args:
        revisions: the file that pin_revisions wrote.
        pin: "model" or "dataset", owner/name and revision, with spaces between them.

    Raises:
        ValueError: the file lacks it.
    """
    if commit := json.loads(revisions.read_text()).get(pin):
        return commit
    raise ValueError(
        f"{revisions} has no commit of {pin}; run snakemake --forcerun pin_revisions -- {revisions}"
    )


@contextmanager
def naming_hub_faults(kind: str, repo: str, revision: str) -> Iterator[None]:
    """Say what to do about a repository that is gated, missing, or out of reach; errors as `pin_revision`."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    require_sendable_token()
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    page = f"{endpoint}/{'datasets/' if kind == 'dataset' else ''}{repo}"
    try:
        yield
    except GatedRepoError:
        raise ValueError(
            f"the {kind} {repo} is gated: accept its terms at {page}, and set HF_TOKEN to a token of "
            "that account"
        ) from None
    except RepositoryNotFoundError:
        raise ValueError(
            f"there is no {kind} {repo} on the hub, or it is private; correct the name, or set HF_TOKEN "
            f"to a token that may read {page}"
        ) from None
    except RevisionNotFoundError:
        raise ValueError(
            f"the {kind} {repo} has no revision '{revision}'; its commits are listed at {page}/commits/main"
        ) from None
    except HfHubHTTPError:
        raise
    except (OfflineModeIsEnabled, LocalEntryNotFoundError, OSError, HfHubHTTPError.__bases__[0]) as error:
        # The last is the root of the faults of whatever HTTP client the hub's library has.
        option = " --repo-type dataset" if kind == "dataset" else ""
        command = f"hf download {repo}{option} --revision {revision}"
        raise OSError(
            f"the {kind} {repo} ({revision}) is not on this machine, and the hub cannot be reached "
            f"({_first_line(error)}). Where there is a network run 'snakemake download', or '{command}', "
            f"and copy the downloads folder and {constants.HF_HOME} here"
        ) from None


def _cached_commit(kind: str, repo: str, revision: str) -> str | None:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = repo_folder_name(repo_id=repo, repo_type=kind)
    path = Path(constants.HF_HUB_CACHE, folder, "refs", revision)
    return path.read_text().strip() if path.is_file() else None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
