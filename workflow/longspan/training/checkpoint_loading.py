"""Loading a checkpoint without running what somebody may have put into it.

A checkpoint lies where a group may write. torch keeps the metadata of a sharded one, and the numbers of its
optimizer, as pickles, which can name any function to be called.
"""

import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import torch
from torch.distributed.checkpoint import FileSystemReader
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta

_METADATA = "torch.distributed.checkpoint.metadata"
# What torch writes; each only holds values.
_ALLOWED = {
    ("pathlib", "PosixPath"),
    ("pathlib._local", "PosixPath"),
    ("torch", "Size"),
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    ("torch.serialization", "_get_layout"),
    *(
        (_METADATA, name)
        for name in (
            "BytesStorageMetadata",
            "ChunkStorageMetadata",
            "Metadata",
            "MetadataIndex",
            "StorageMeta",
            "TensorProperties",
            "TensorStorageMetadata",
            "_MEM_FORMAT_ENCODING",
        )
    ),
}
_FORCED, _FORBIDDEN = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


class _MetadataUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        is_dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if not is_dtype and (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return super().find_class(module, name)


def read_metadata(file: BinaryIO) -> Metadata:
    """The metadata of a sharded checkpoint.

    Raises:
        pickle.UnpicklingError: it names something else than classes of such metadata, or a file outside the
            checkpoint's folder.
    """
    metadata = _MetadataUnpickler(file).load()
    if not isinstance(metadata, Metadata):
        raise pickle.UnpicklingError("it is no metadata")
    for information in (metadata.storage_data or {}).values():
        path = information.relative_path
        if not isinstance(path, str) or path != os.path.basename(path):
            raise pickle.UnpicklingError(f"it names the file {path}")
    return metadata


@contextmanager
def loading_no_code(checkpoint: Path | str) -> Iterator[None]:
    """Let torch load values alone as long as the block runs, from whatever file.

    Raises:
        ValueError: a file of the checkpoint holds something else.
    """
    reading = FileSystemReader.read_metadata
    before = {name: os.environ.pop(name, None) for name in (_FORCED, _FORBIDDEN)}
    os.environ[_FORCED] = "1"
    FileSystemReader.read_metadata = _read_metadata
    try:
        yield
    except (pickle.UnpicklingError, CheckpointException) as error:
        raise ValueError(
            f"{checkpoint} holds more than values, or is damaged ({_reason(error)}); find out who wrote it, "
            "or delete it to go on from the checkpoint before it"
        ) from None
    finally:
        FileSystemReader.read_metadata = reading
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _read_metadata(self: FileSystemReader, *arguments, **keywords) -> Metadata:
    with self.fs.create_stream(self._get_metadata_path(keywords.get("rank")), "rb") as file:
        metadata = read_metadata(file)
    metadata.storage_meta = metadata.storage_meta or StorageMeta()
    metadata.storage_meta.load_id = self.load_id
    return metadata


def _reason(error: BaseException) -> str:
    if isinstance(error, CheckpointException) and error.failures:
        error = next(iter(error.failures.values()))[0]
    # torch explains at length how to load everything all the same.
    lines = str(error).strip().splitlines()
    named = next((line.strip() for line in lines if "Unsupported" in line or "it names" in line), None)
    return named or next(iter(lines), type(error).__name__)
