"""Texts in a dataset of the Hugging Face hub."""

from typing import ClassVar

from longspan.corpora.source import SourceKind
from longspan.fetching.hub_datasets import fetch_hub_dataset
from longspan.plugins.options import option, optional
from longspan.store.tables import atomic_path


class Hub(SourceKind):
    """A dataset of the Hugging Face hub."""

    name: ClassVar[str] = "hub"

    dataset: str = option(description="Dataset, owner/name.")
    config: str | None = optional("Configuration of the dataset.")
    split: str | None = optional("Split of the dataset; train if not given.")
    revision: str | None = optional(
        "Commit, tag or branch, main if not given; a tag or branch stays the commit that it was at first."
    )

    @property
    def archive_name(self):
        """The dataset's name and what is taken of it."""
        parts = [self.dataset, self.config, self.split or "train", self.revision]
        return "-".join(part.replace("/", "--") for part in parts if part) + ".parquet"

    @property
    def fetched(self):
        """The dataset and what is taken of it."""
        parts = {name: getattr(self, name) for name in Hub.model_fields}
        return {"kind": self.name} | {name: value for name, value in parts.items() if value is not None}

    @property
    def repository(self):
        """The dataset."""
        return ("dataset", self.dataset, self.revision or "main")

    @property
    def origin(self):
        """The dataset and what is taken of it."""
        return "hub " + ", ".join(filter(None, (self.dataset, self.config, self.split, self.revision)))

    @classmethod
    def fetch(cls, fetched, archive, commit):
        """Fetch the dataset at a commit, as Parquet."""
        name = fetched["dataset"]
        dataset = fetch_hub_dataset(name, fetched.get("config"), fetched.get("split", "train"), commit)
        with atomic_path(archive) as temporary:
            dataset.to_parquet(temporary)
        return f"{archive}: {len(dataset)} rows of {name} at commit {commit}"
