"""Datasets of the Hugging Face hub."""

import pyarrow as pa

from longspan.fetching.hub_revisions import naming_hub_faults

# What is said of Parquet whose first row group is empty, and of a split without any row group.
_NO_ROWS = ("BatchSize must be greater than 0", "corresponds to no data")


def fetch_hub_dataset(repo: str, config: str | None, split: str, commit: str):
    """Fetch a split of a dataset, into the cache of `datasets` and as a `datasets.Dataset`.

    Args:
        repo: owner/name.
        config: configuration of the dataset; None where it has one only.
        split: name of the split.
        commit: the commit that the rows must be of.

    Raises:
        ValueError: the dataset has no such configuration or split, a file cannot be read or has no rows, or
            only another commit is to be had.
        OSError: the hub cannot be reached, and the cache does not hold the dataset.
    """
    from datasets import load_dataset
    from datasets.exceptions import DatasetGenerationError

    try:
        with naming_hub_faults("dataset", repo, commit):
            dataset = load_dataset(repo, config, split=split, revision=commit)
    except (DatasetGenerationError, ValueError) as error:
        reason = str(error.__cause__ or error)
        if any(words in reason for words in _NO_ROWS):
            raise ValueError(
                f"a file of the split '{split}' of the dataset {repo} holds no rows; correct the source's "
                "config, split or revision"
            ) from None
        if isinstance(error, (DatasetGenerationError, pa.ArrowInvalid)):
            raise ValueError(f"a file of the dataset {repo} cannot be read ({reason})") from None
        raise
    # Out of reach of the hub, any commit that is in the cache is taken for the one that was asked for.
    if not all(commit in file["filename"] for file in dataset.cache_files):
        raise ValueError(
            f"the cache holds the dataset {repo}, but not at commit {commit}, and the hub cannot be reached; "
            "run 'snakemake download' where there is a network"
        )
    return dataset
