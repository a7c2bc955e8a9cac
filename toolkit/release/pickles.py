"""Weight files that can run code when they are loaded. A release has none."""

from __future__ import annotations

from pathlib import PurePosixPath

_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill", ".npy", ".npz"})


def is_pickle(name: str) -> bool:
    """Whether a file name is one that Python loaders unpickle."""
    return PurePosixPath(name).suffix.lower() in _SUFFIXES
