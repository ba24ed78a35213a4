"""What is said where a package that a part of Trails needs cannot be imported."""

from __future__ import annotations

import pytest

from trails import extras


@pytest.mark.parametrize(
    ("module", "hint"),
    [("torch._C", "pip install 'trails[train]'"), ("ray", "pip install 'trails[ray]'"), ("somebodys", None)],
)
def test_a_package_that_is_absent_is_named_with_the_extra_that_brings_it(module: str, hint: str | None) -> None:
    found = extras.missing(ModuleNotFoundError("no", name=module))
    assert found is not None and found.message == f"{module.partition('.')[0]} is not installed"
    assert found.hint is None if hint is None else hint in str(found.hint), "nobody installs what is only called so"


def test_one_that_is_there_and_broken_speaks_for_itself() -> None:
    assert extras.missing(ImportError("libcudnn.so.9: cannot open shared object file", name="torch._C")) is None
    assert extras.missing(ModuleNotFoundError("no", name="trails.nothing")) is None
    assert extras.missing(ImportError("no name")) is None
