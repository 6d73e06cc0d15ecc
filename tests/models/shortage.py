"""An allocator that fails on purpose."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class FailingAllocator(TorchDispatchMode):
    """Counts torch's operations, and runs out of memory at some of them, once each."""

    def __init__(self, *fail_at: int):
        super().__init__()
        self.fail_at = set(fail_at)
        self.operations = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.operations += 1
        if self.operations in self.fail_at:
            raise torch.OutOfMemoryError("CUDA out of memory, on purpose")
        return func(*args, **(kwargs or {}))
