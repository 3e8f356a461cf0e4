"""Texts: sources, plans, documents, tokens."""

import os

from longspan.corpora.plan_index import is_current, plan_digests
from longspan.corpora.raw_paths import raw_paths
from longspan.corpora.source import SourceKind
from longspan.store.code import code_digest
from longspan.store.shards import HELD_OUT
from longspan_workflow.running.project import script
from longspan_workflow.settings.blocks import Corpus, Settings, SourceBlock
from longspan_workflow.settings.faults import SettingsError
from longspan_workflow.settings.seeds import derive_seed
from longspan_workflow.wiring.places import Places

# What a plan knows of a source beside its raw files.
_PLANNED = (
    "category",
    "license",
    "hold_out",
    "files",
    "sample",
    "format",
    "encoding",
    "boilerplate",
    "text_column",
    "title_column",
    "id_column",
    "group_by",
)


class Texts:
    """Inputs and parameters of rules/texts.smk.

    Args:
        settings: the settings.
        places: paths.
    """

    def __init__(self, settings: Settings, places: Places):
        self._settings, self._places = settings, places
        self.archives: dict[str, SourceKind] = {
            source.archive_name: source
            for corpus in settings.corpora.values()
            for source in corpus.sources
            if source.is_fetched
        } | {
            source.archive_name: source for task in settings.evaluations.values() for source in task.archives
        }

    # What is fetched

    def archive_settings(self, wildcards) -> dict:
        """What is fetched, and the digest that it must have."""
        source = self.archives[wildcards.archive]
        if source.pin != source.pin_of(source.fetched):
            raise SettingsError(
                f"source kind '{source.kind}': its fetched says another repository or revision than its "
                "options; both must be the same"
            )
        return source.fetched

    def revisions(self, wildcards) -> list[str]:
        """The hub's commits, if texts come from there."""
        return [self._places.revisions] if self.archives[wildcards.archive].pin else []

    # Plans

    def plan_settings(self, corpus: Corpus) -> dict:
        """Sources of a corpus, each with the files it reads."""
        sources = []
        for source in corpus.sources:
            given = source.as_settings()
            block = {key: given[key] for key in _PLANNED if key in given}
            block["paths"] = self.raw_patterns(source)
            if source.is_fetched:
                block["archive"] = source.fetched
            sources.append(block)
        plan = {"sources": sources, "shards": corpus.shards, "drop_duplicates": corpus.drop_duplicates}
        if any(source.sample is not None for source in corpus.sources):
            plan["seed"] = derive_seed(self._settings.seed, "plan_shards", corpus.key)
        return plan

    def raw_patterns(self, source: SourceBlock) -> list[str]:
        """Paths and patterns of a source's raw files, as they are on the disk."""
        if not source.is_fetched:
            return list(source.patterns)
        return [self._places.here(self._places.text_archive.format(archive=source.archive_name))]

    def planning(self, wildcards) -> dict:
        """Settings of the plan of a corpus."""
        return self.plan_settings(self._settings.corpora[wildcards.corpus])

    def local_files(self, wildcards) -> list[str]:
        """Local files of a corpus; a pattern without a match stays, and is missing then."""
        sources = self._settings.corpora[wildcards.corpus].sources
        return raw_paths(
            pattern for source in sources if not source.is_fetched for pattern in source.patterns
        )

    def fetched_files(self, wildcards) -> list[str]:
        """Archives of a corpus."""
        sources = self._settings.corpora[wildcards.corpus].sources
        names = dict.fromkeys(source.archive_name for source in sources if source.is_fetched)
        return [self._places.text_archive.format(archive=name) for name in names]

    def plan_digest(self, wildcards) -> str:
        """Digest of a shard's plan, as far as the corpus is planned now."""
        index = self._places.here(self._places.plan_index.format(corpus=wildcards.corpus))
        return plan_digests(index).get(wildcards.shard, "")

    def is_planned(self, or_new: bool = False) -> bool:
        """Whether planning the corpora of all windowings anew would change nothing.

        Of a new corpus, of which no file is there, it is as `or_new` says.
        """
        names = {windowing.corpus_name for windowing in self._settings.windowings.values()}
        names |= {task.corpus.key for task in self._settings.evaluations.values() if task.corpus is not None}
        indexes = {name: self._places.here(self._places.plan_index.format(corpus=name)) for name in names}
        return all(
            is_current(
                index, self.plan_settings(self._settings.corpora[name]), code_digest(script("plan_shards"))
            )
            if os.path.exists(os.path.dirname(index))
            else or_new
            for name, index in indexes.items()
        )

    # Documents and tokens

    def reading_settings(self, wildcards) -> dict:
        """What is done with bad documents, and what else is left out; held-out works all stay."""
        corpus = self._settings.corpora[wildcards.corpus]
        clean_up = corpus.clean_up.as_settings("overlap")
        if (overlap := corpus.clean_up.overlap) is not None:
            clean_up |= {"ngram_words": overlap.ngram_words, "max_overlap_share": overlap.max_overlap_share}
        is_held_out = wildcards.shard == HELD_OUT
        return {"on_bad_document": corpus.on_bad_document, "clean_up": {} if is_held_out else clean_up}

    def references(self, wildcards) -> list[str]:
        """N-grams that a shard's documents are compared with, if they are."""
        overlap = self._settings.corpora[wildcards.corpus].clean_up.overlap
        if overlap is None or wildcards.shard == HELD_OUT:
            return []
        return [self._places.reference_ngrams.format(corpus=wildcards.corpus)]

    def reference_settings(self, wildcards) -> dict:
        """Which texts beside the held-out works give n-grams, and of how many words."""
        return self._settings.corpora[wildcards.corpus].clean_up.overlap.as_settings("max_overlap_share")

    def reference_files(self, wildcards) -> list[str]:
        """Files whose text no document may share."""
        return raw_paths(self.reference_settings(wildcards)["files"])

    def documents(self, corpus: Corpus, shard: str) -> str:
        """Documents of a shard."""
        return self._places.documents.format(corpus=corpus.key, shard=shard)
