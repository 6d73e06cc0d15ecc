"""A lack of memory, in whichever of torch's ways it shows; and what is not used given back.

Goes in: an exception. Comes out: whether memory was short, or OutOfMemory. Does not know: who could
do with less.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.errors import OutOfMemory

if TYPE_CHECKING:
    from collections.abc import Iterator

# What torch's plain RuntimeErrors say: the CPU's allocator (c10/core/CPUAllocator), a mapped file,
# oneDNN, cuBLAS and cuDNN without room for their code or workspaces, Metal; and Python's, where
# there is no room for a thread's stack.
_WORDS = (
    "can't allocate memory",
    "Cannot allocate memory",
    "could not create a primitive",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "MPS backend out of memory",
    "can't start new thread",
)


def is_shortage(error: BaseException) -> bool:
    """Whether memory ran out."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError | OutOfMemory):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


@contextmanager
def told_as_out_of_memory(what: str) -> Iterator[None]:
    """Raise OutOfMemory for a lack of memory, naming `what` did not fit."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_shortage(error):
            raise
        raise OutOfMemory(
            f"{what} does not fit into memory; take a smaller --batch-size or a smaller --model, "
            "or close other programs."
        ) from error


def free_unused() -> None:
    """Let the allocators give back what nobody uses."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    trim()


def trim() -> None:
    """Give back what was freed below the end of glibc's heap, which it keeps: in milliseconds.

    After loading it is half of all, after hearing a tenth.
    """
    if sys.platform == "linux":
        malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if malloc_trim is not None:
            malloc_trim(0)
