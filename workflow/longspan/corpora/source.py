"""What a kind of source is: a plug-in that says where raw texts lie, and how they get there."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from longspan.plugins.options import own_options
from longspan.plugins.registry import PlugIn, PlugInKind


class SourceKind(PlugIn):
    """Where texts come from; its fields are its options.

    Attributes:
        is_fetched: whether the texts are fetched into a file of the downloads' folder.
    """

    is_fetched: ClassVar[bool] = True

    @property
    def archive_name(self) -> str:
        """Name of the file that is fetched."""
        raise NotImplementedError

    @property
    def patterns(self) -> Sequence[str]:
        """Paths, patterns or folders of texts that lie here already; none of a kind that is fetched."""
        return ()

    @property
    def fetched(self) -> dict:
        """What is fetched, for the rule that does: the kind and the options that say what its bytes are.

        Of a kind with a `repository`, those that this looks at are among them.
        """
        return {"kind": self.name}

    @property
    def repository(self) -> tuple[str, str, str] | None:
        """(kind, repository, revision) on the hub, whose commit is pinned; None elsewhere."""
        return None

    @property
    def pin(self) -> str | None:
        """The name under which that commit is kept."""
        return None if self.repository is None else " ".join(self.repository)

    @classmethod
    def pin_of(cls, fetched: Mapping) -> str | None:
        """The pin of a source of which only `fetched` is known.

        Raises:
            ValueError: `fetched` lacks an option that `repository` looks at.
        """
        known = own_options(cls, fetched)
        try:
            return cls.model_construct(**known).pin
        except AttributeError as error:
            raise ValueError(
                f"source kind '{cls.name}': its repository needs what its fetched leaves out ({error}); put "
                "that into fetched"
            ) from None

    @property
    def origin(self) -> str:
        """Where the texts come from, in a few words, for cards."""
        raise NotImplementedError

    @classmethod
    def fetch(cls, fetched: Mapping, archive: Path, commit: str | None) -> str:
        """Fetch the texts, or find them there as they were pinned; what was done, in words.

        Args:
            fetched: what is fetched, as the property of this name gives it.
            archive: the file to write.
            commit: the hub's commit, where the texts come from there.

        Raises:
            ValueError: what is fetched is not what was pinned.
            OSError: it cannot be fetched.
        """
        raise NotImplementedError

    def raw_sizes(self, paths: Sequence[Path]) -> list[tuple[str, int]]:
        """(name, bytes) of the raw texts in some files, for the estimate."""
        return [(str(path), path.stat().st_size) for path in paths]


SOURCE_KINDS = PlugInKind(
    what="source kind",
    package="longspan.corpora.sources",
    group="longspan.source_kinds",
    base=SourceKind,
)
