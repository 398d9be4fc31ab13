"""What a process may take of the memory of a GPU that it shares with others."""

import torch

CUDA_BYTES = 800_000_000  # that CUDA and its libraries take of a card for each process, beside all tensors


def card_bytes() -> int:
    """The memory of this process's GPU, in bytes."""
    return torch.cuda.get_device_properties(0).total_memory


def keep_to_share(share_bytes: int) -> None:
    """Lets torch allocate in this process no more than this part of the GPU's memory, less what CUDA itself takes.
    Beyond it memory has run out, as it would on a card of that size, and no process takes what belongs to another.
    """
    left = max(share_bytes - CUDA_BYTES, 0)
    torch.cuda.set_per_process_memory_fraction(left / card_bytes(), 0)
