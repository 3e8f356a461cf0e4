"""What the job that fetches knows of a source."""

from typing import ClassVar

import pytest

from longspan.corpora.source import SOURCE_KINDS, SourceKind
from longspan.plugins.options import option, optional
from longspan_workflow.settings.blocks import SOURCES
from longspan_workflow.settings.faults import SettingsError
from refusals import refused
from tiny_wiring import wildcards, wiring_of


class Mine(SourceKind):
    """A repository of the hub that is named by another option than the built-in kind's."""

    name: ClassVar[str] = "mine"

    shelf: str = option(description="Repository.")
    edition: str | None = optional("Revision.")
    page: str = option("1", "No part of what is fetched.")

    @property
    def fetched(self):
        return {"kind": self.name, "shelf": self.shelf} | ({"edition": self.edition} if self.edition else {})

    @property
    def repository(self):
        return ("dataset", self.shelf, self.edition or "main")


class Silent(Mine):
    """One that does not say what its repository is."""

    @property
    def fetched(self):
        return {"kind": self.name}


@pytest.mark.parametrize("edition", [None, "v2"])
def test_a_job_knows_the_pin_of_what_it_fetches(edition):
    source = Mine(shelf="o/books", **({"edition": edition} if edition else {}))
    assert Mine.pin_of(source.fetched) == source.pin == f"dataset o/books {edition or 'main'}"


def test_a_kind_that_keeps_its_repository_from_the_job_is_refused():
    message = r"^source kind 'mine': its repository needs what its fetched leaves out "
    with pytest.raises(ValueError, match=message):
        Silent.pin_of(Silent(shelf="o/books").fetched)


def test_built_in_kinds_tell_the_job_their_pin():
    hub = {"kind": "hub", "dataset": "o/books", "category": "c", "license": "l"}
    for more in ({}, {"revision": "v2"}, {"config": "a", "split": "test"}):
        source = SOURCES["hub"](**hub | more)
        assert SOURCE_KINDS["hub"].pin_of(source.fetched) == source.pin is not None
    assert SOURCE_KINDS["pypi"].pin_of({"kind": "pypi", "requirement": "a==1", "sha256": "0" * 64}) is None


def test_another_pin_than_the_options_say_is_refused_before_any_job(monkeypatch):
    def change(settings):
        source = {"kind": "hub", "dataset": "o/books", "revision": "v2", "category": "c", "license": "l"}
        settings["corpora"]["short"]["sources"].append(source)

    texts = wiring_of(change).texts
    archive = wildcards(archive="o--books-train-v2.parquet")
    assert texts.archive_settings(archive)["dataset"] == "o/books"
    hub = SOURCE_KINDS["hub"]
    monkeypatch.setattr(hub, "fetched", property(lambda self: {"kind": "hub", "dataset": self.dataset}))
    with refused(
        "source kind 'hub': its fetched says another repository or revision than its options; both must be "
        "the same",
        SettingsError,
    ):
        texts.archive_settings(archive)
