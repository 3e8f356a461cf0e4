"""Windows: what a shard is cut from, and how."""

from pathlib import Path

from longspan.store.shards import HELD_OUT
from longspan_workflow.settings.blocks import Settings, WindowingBlock
from longspan_workflow.settings.seeds import derive_seed
from longspan_workflow.wiring.places import Places


class Windows:
    """Inputs and parameters of rules/windows.smk, and the tables of a windowing.

    Args:
        settings: the settings.
        places: paths.
    """

    def __init__(self, settings: Settings, places: Places):
        self._settings, self._places = settings, places

    def windowing_settings(self, wildcards) -> dict:
        """How a shard's windows are cut and sampled; held-out works are not sampled."""
        windowing = self._settings.windowings[wildcards.windowing]
        sampling = {} if wildcards.shard == HELD_OUT else windowing.sampling.as_settings()
        seed = derive_seed(self._settings.seed, "assign_windows", windowing.key) if sampling else None
        return windowing.as_settings("sampling", "tokenizer") | {"sampling": sampling, "seed": seed}

    def inputs(self, wildcards) -> dict[str, str]:
        """Documents and tokens that a shard of windows is cut from, and the model with the tokenizer."""
        windowing = self._settings.windowings[wildcards.windowing]
        return {
            "documents": self.documents_of(windowing, wildcards.shard),
            "tokens": self.tokens_of(windowing, wildcards.shard),
            "model": self._places.model.format(model=windowing.tokenizer_name),
        }

    def id_prefix(self, wildcards) -> str:
        """What stands before the number in the ids of a shard's windows."""
        return f"{self._settings.windowings[wildcards.windowing].corpus_name}-{wildcards.shard}"

    # Tables of a windowing

    def documents_of(self, windowing: WindowingBlock, shard: str) -> str:
        """Documents that a shard of windows is cut from."""
        return self._places.documents.format(corpus=windowing.corpus_name, shard=shard)

    def tokens_of(self, windowing: WindowingBlock, shard: str) -> str:
        """Tokens that a shard of windows points to."""
        return self._places.tokens.format(
            corpus=windowing.corpus_name, tokenizer=windowing.tokenizer_name, shard=shard
        )

    def windows_of(self, windowing: WindowingBlock, shard: str) -> str:
        """A shard of windows."""
        return self._places.windows.format(windowing=windowing.key, shard=shard)

    def all_documents(self, windowing: WindowingBlock) -> list[str]:
        """Documents of every shard of a windowing."""
        return [self.documents_of(windowing, shard) for shard in windowing.corpus.shard_names]

    def all_tokens(self, windowing: WindowingBlock) -> list[str]:
        """Tokens of every shard of a windowing."""
        return [self.tokens_of(windowing, shard) for shard in windowing.corpus.shard_names]

    def all_windows(self, windowing: WindowingBlock) -> list[str]:
        """Windows of every shard of a windowing."""
        return [self.windows_of(windowing, shard) for shard in windowing.corpus.shard_names]

    def folder_here(self, windowing: WindowingBlock) -> str:
        """Folder of the tables of a windowing, as it is on the disk."""
        return str(Path(self._places.here(self.windows_of(windowing, HELD_OUT))).parent)
