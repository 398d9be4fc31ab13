"""Where the files of a data set lie: in a folder, or in an object store, from which they are fetched into the cache."""

from pathlib import Path

from gan_core.config.dataset_name import ON_DISK_KINDS
from gan_core.files.addresses import is_address
from gan_core.files.fetched import local_folder

FOLDERS = {  # below a data root; of CIFAR-10 there are two layouts, of which one is enough
    "mnist": ("MNIST/raw",),
    "fashion_mnist": ("FashionMNIST/raw",),
    "cifar10": ("cifar-10-batches-bin", "cifar-10-batches-py"),
}
assert tuple(FOLDERS) == ON_DISK_KINDS


def data_folder(root: str | Path | None, kind: str) -> Path | None:
    """The data root as a folder of this machine. Of an address, only the files of this kind of data set are fetched,
    and only when they changed. Raises StoreError and InputError as `local_folder` does.
    """
    if root is None:
        return None
    below = ("",) if kind == "own" else FOLDERS.get(kind, ())  # all that their code may ask for
    return local_folder(root, below) if is_address(root) and below else Path(root)
