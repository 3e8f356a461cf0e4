"""The folder of a training: whether it is finished, and its checkpoints. Imports no torch."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from longspan.exports.model_card import model_card
from longspan.models.folders import MANIFEST_NAME, empty_folder, read_manifest
from longspan.process.ranks import decided_by_first
from longspan.store.locks import exclusive_lock
from longspan.store.tables import atomic_path, digest_of, open_table, write_table
from longspan.training.exposure import TrainingExposure

if TYPE_CHECKING:
    from longspan.training.data import TrainingData


class RunFolder:
    """model/, tables of what was logged and, written last, settings.json, which says what made them.

    Args:
        path: the folder.
        identity: settings, stage version and digests of the data: what makes two trainings the same.
    """

    def __init__(self, path: Path, identity: dict):
        self.model = path / "model"
        self.metrics = path / "metrics.parquet"
        self.speed = path / "speed.parquet"
        self.guard = path / "guard.parquet"
        self.exposure = path / "exposure.parquet"
        self.logs = path / "logs"
        self.checkpoints = path / "checkpoints"
        self.lock = path / "lock"
        self._record = path / "settings.json"
        self.identity = identity

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder by a lock of the first process.

        Raises:
            ValueError: another training holds it.
        """
        with ExitStack() as held:
            decided_by_first(lambda: held.enter_context(exclusive_lock(self.lock)))
            yield

    def is_finished(self) -> bool:
        """Whether a whole training of this identity is there; if so, its files get a new time."""
        manifest = self.model / MANIFEST_NAME
        try:
            read_manifest(manifest)
            open_table(self.metrics, "training_metrics")
            record = json.loads(self._record.read_text())
            if {key: record.get(key) for key in self.identity} != self.identity:
                return False
        except (ValueError, OSError):
            return False
        for path in (manifest, self.metrics, self._record):
            path.touch()
        return True

    def write_card(self, card: Mapping, data: "TrainingData") -> None:
        """Write the model's card, if it is not there as it must be.

        Args:
            card: origin of model and texts.
            data: what the training draws from.
        """
        facts = {"windows": len(data.long), "window_tokens": data.windows.window_tokens}
        text, path = model_card(**card, **facts, identity=self.identity), self.model / "README.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            with atomic_path(path) as temporary:
                temporary.write_text(text, encoding="utf-8")

    def has_exposure(self) -> bool:
        """Whether the table of effective contexts is there, which older trainings lack."""
        try:
            open_table(self.exposure, "training_exposure")
        except (ValueError, OSError):
            return False
        return True

    def write_exposure(self, exposure: TrainingExposure, code_digest: str | None) -> None:
        """Write the table of effective contexts."""
        write_table(
            self.exposure, "training_exposure", exposure.rows(), **self.identity, code_digest=code_digest
        )

    def start(self) -> None:
        """Drop checkpoints that a training of another identity left."""
        mark = self.checkpoints / "identity"
        identity = digest_of(self.identity)
        if not mark.exists() or mark.read_text() != identity:
            empty_folder(self.checkpoints)
            mark.write_text(identity)

    def finish(self, execution: dict) -> None:
        """Say that model and metrics are whole, of what, and, for the record, how it ran."""
        record = self.identity | {"execution": execution}
        with atomic_path(self._record) as temporary:
            temporary.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
        shutil.rmtree(self.checkpoints, ignore_errors=True)
