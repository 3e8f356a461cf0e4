"""Far attention sums on Hopper GPUs, by a CUDA C++ kernel that nvcc compiles at first use.

The library is kept in ``$LONGSPAN_CACHE_DIR`` (``~/.cache/longspan``) under a digest of its source and of
the compiler, and reached through ctypes: it takes addresses and strides and knows nothing of torch.
"""

import ctypes
import functools
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch

SOURCE = Path(__file__).with_suffix(".cu")
HEAD_DIMS = (64, 80, 96, 112, 128)
FLAGS = ("-O3", "-std=c++17", "-gencode=arch=compute_90a,code=sm_90a", "-shared", "-Xcompiler", "-fPIC")

log = logging.getLogger(__name__)


def is_available(head_dim: int, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether this kernel can run: a Hopper GPU, half precision, a head dimension it has, and nvcc."""
    return (
        head_dim in HEAD_DIMS
        and dtype in (torch.bfloat16, torch.float16)
        and torch.cuda.get_device_capability(device) == (9, 0)
        and _library(head_dim) is not None
    )


def far_attention_sums(
    q_BHLD: torch.Tensor, k_BKLD: torch.Tensor, scale: float, distance: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """`longspan.scoring.attention_statistics.far_attention_sums` for checked inputs, without softcap."""
    batch, heads, num_tokens, head_dim = q_BHLD.shape
    library = _library(head_dim)
    assert library is not None
    q_BHLD, k_BKLD = _rows_of_16_bytes(q_BHLD), _rows_of_16_bytes(k_BKLD)
    slots = library.far_attention_slots(num_tokens, distance)
    partial_BH2S = torch.empty(batch, heads, 2, slots, dtype=torch.float32, device=q_BHLD.device)
    failure = library.far_attention_launch(
        q_BHLD.data_ptr(),
        k_BKLD.data_ptr(),
        partial_BH2S.data_ptr(),
        batch,
        heads,
        k_BKLD.shape[1],
        num_tokens,
        distance,
        (ctypes.c_int64 * 3)(*q_BHLD.stride()[:3]),
        (ctypes.c_int64 * 3)(*k_BKLD.stride()[:3]),
        scale,
        q_BHLD.dtype == torch.bfloat16,
        q_BHLD.device.index,
        torch.cuda.current_stream(q_BHLD.device).cuda_stream,
    )
    if failure:
        raise RuntimeError(f"far attention kernel: {failure.decode()}")
    sum_p, sum_p2 = partial_BH2S.sum(-1, dtype=torch.float64).float().unbind(-1)
    return sum_p, sum_p2


def _rows_of_16_bytes(x_BHLD: torch.Tensor) -> torch.Tensor:
    # the copy engine wants 16-byte steps in every dimension but the last
    *outer, last = x_BHLD.stride()
    aligned = last == 1 and all(s > 0 and s % 8 == 0 for s in outer) and x_BHLD.data_ptr() % 16 == 0
    return x_BHLD if aligned else x_BHLD.contiguous()


@functools.cache
def _library(head_dim: int) -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(str(_compile(head_dim)))
    except (OSError, subprocess.CalledProcessError) as error:
        detail = getattr(error, "stderr", None) or error
        log.warning("no Hopper kernel for far attention, taking the Triton one: %s", detail)
        return None
    library.far_attention_launch.restype = ctypes.c_char_p
    library.far_attention_launch.argtypes = (
        [ctypes.c_void_p] * 3 + [ctypes.c_int] * 5 + [ctypes.POINTER(ctypes.c_int64)] * 2
    ) + [ctypes.c_float, ctypes.c_int, ctypes.c_int, ctypes.c_void_p]
    return library


def _compile(head_dim: int) -> Path:
    nvcc = _nvcc()
    flags = [*FLAGS, f"-DHEAD_DIM={head_dim}"]
    version = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    digest = hashlib.sha256("\0".join([SOURCE.read_text(), version, *flags]).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("LONGSPAN_CACHE_DIR") or Path.home() / ".cache" / "longspan")
    library = cache / f"far_attention_hopper_{digest}.so"
    if not library.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        # compiled beside and renamed, so that processes starting together never load half a file
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            built = Path(folder) / library.name
            subprocess.run(
                [nvcc, *flags, "-o", str(built), str(SOURCE)], capture_output=True, text=True, check=True
            )
            built.replace(library)
    return library


def _nvcc() -> str:
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH") or "/usr/local/cuda"
    nvcc = shutil.which("nvcc") or shutil.which("nvcc", path=str(Path(home) / "bin"))
    if nvcc is None:
        raise FileNotFoundError("nvcc is neither on the PATH nor under CUDA_HOME")
    return nvcc
