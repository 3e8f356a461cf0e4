"""Texts in local files."""

from typing import ClassVar

from longspan.corpora.source import SourceKind
from longspan.plugins.options import option


class Files(SourceKind):
    """Local files."""

    name: ClassVar[str] = "files"
    is_fetched: ClassVar[bool] = False

    paths: list[str] = option(
        description="Paths, patterns (** for any depth) or folders, from the working folder; .txt, .jsonl, "
        ".parquet, each also .gz or .zst.",
        min_length=1,
    )

    @property
    def patterns(self):
        """The paths as they are given."""
        return self.paths

    @property
    def origin(self):
        """The paths themselves."""
        return ", ".join(self.paths)
