"""Pointers that Git leaves in place of large files which were not fetched."""

# A pointer of Git LFS is shorter than this, by its specification.
_MAX_BYTES = 1024
_KINDS = {
    b"version https://git-lfs.github.com/spec/": "a Git LFS pointer in place of the file; run `git lfs pull`",
    b"version https://hawser.github.com/spec/": "a Git LFS pointer in place of the file; run `git lfs pull`",
    b"/annex/objects/": "a git-annex pointer in place of the file; run `git annex get`",
}
HEAD_BYTES = _MAX_BYTES + 1


def pointer_in(head: bytes) -> str | None:
    """What kind of pointer a file is, and how to fetch the file itself; None for any other.

    Args:
        head: the file's first `HEAD_BYTES` bytes.
    """
    if len(head) >= HEAD_BYTES:
        return None
    return next((said for start, said in _KINDS.items() if head.startswith(start)), None)
