"""The text of windows, as exact slices of their documents."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from longspan.store.tables import Manifest, RowReader, read_table


def window_texts(documents: Path | str, windows: pd.DataFrame) -> tuple[Manifest, Iterator[str]]:
    """Manifest of a shard's documents, and the text of each of its windows, in order.

    Documents are read a row group at a time; windows that follow the order of the documents read each once.

    Args:
        documents: the shard's documents.
        windows: rows with document_id, char_start and char_stop.
    """
    ids = read_table(documents, "documents", ["document_id"])[0].column(0).to_pylist()
    row_of = {document_id: row for row, document_id in enumerate(ids)}
    reader = RowReader(documents, "documents", ["text"])

    def texts():
        document_id, text = None, ""
        for window in windows.itertuples():
            if window.document_id != document_id:
                document_id = window.document_id
                text = reader[row_of[document_id]]["text"].as_py()
            yield text[window.char_start : window.char_stop]

    return reader.manifest, texts()
