"""Pairs of tiny models, made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import torch

from tests.udfs.models.influence.families import save_family


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices this small lose more to a second thread than they win."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


Pair = tuple[Path, Path]


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Pair]:
    """Folders of a family's short and long model: other weights, one shape."""

    @cache
    def made(family: str) -> Pair:
        root = tmp_path_factory.mktemp(family)
        return save_family(root / "short", family, seed=1), save_family(root / "long", family, seed=2)

    return made
