"""What training takes of PyTorch without being promised it is tried before its use, and replaced if it has changed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.refinement.test_stack import layout, made_rows, stack_of
from trails.family.mlp.stack import MlpStack
from trails.training import kernels

OPERATIONS: dict[str, tuple[Any, str]] = {
    "adam": (torch, "_fused_adam_"),
    "lerp": (torch, "_foreach_lerp_"),
    "relu_backward": (torch.ops.aten, "threshold_backward"),
    "embedding_backward": (torch.ops.aten, "embedding_dense_backward"),
    "norm": (torch, "native_batch_norm"),
    "norm_backward": (torch.ops.aten, "native_batch_norm_backward"),
}


@pytest.fixture(autouse=True)
def unknown() -> Iterator[None]:
    """Nothing was tried yet, and nothing is known afterwards of what a test has changed."""
    kernels.replaced.cache_clear()
    yield
    kernels.replaced.cache_clear()


def trained() -> MlpStack:
    stack = stack_of([layout(7, 5)], made_rows(300, 3, values=True), batch=64)
    for epoch in (1, 2):
        stack.train_epoch(epoch, lambda share: True)
    return stack


def changed(*_: Any, **__: Any) -> Any:
    raise TypeError("takes 3 positional arguments but 12 were given")


def other(name: str) -> Any:
    """As it is, and a little off."""
    owner, operation = OPERATIONS[name]
    real = getattr(owner, operation)

    def wrong(*arguments: Any, **named: Any) -> Any:
        result = real(*arguments, **named)
        for tensor in result if isinstance(result, tuple) else [result]:
            if tensor is not None:
                tensor.mul_(1.01)
        if result is None:
            arguments[0][0].mul_(1.01)
        return result

    return wrong


def test_this_pytorch_has_all_of_them(capfd: pytest.CaptureFixture[str]) -> None:
    assert kernels.replaced("cpu") == frozenset()
    assert set(OPERATIONS) == set(kernels._FAST) == set(kernels._PLAIN)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("how", ["raises", "gives other numbers"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_training_does_not_hang_on_any(
    name: str, how: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = made_rows(100, 5, values=True)
    expected = trained().predict(rows)
    kernels.replaced.cache_clear()
    owner, operation = OPERATIONS[name]
    monkeypatch.setattr(owner, operation, changed if how == "raises" else other(name))
    found = trained().predict(rows)
    assert kernels.replaced("cpu") == {name}
    told = capfd.readouterr().err
    assert told.count("\n") == 1 and torch.__version__ in told and name in told
    assert expected is not None and found is not None
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_all_stand_ins_together_train_the_same() -> None:
    rows = made_rows(100, 5, values=True)
    expected = trained().predict(rows)
    fast = dict(kernels._FAST)
    try:
        kernels._FAST.update(dict.fromkeys(fast, changed))
        kernels.replaced.cache_clear()
        found = trained().predict(rows)
    finally:
        kernels._FAST.update(fast)
    assert expected is not None and found is not None
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_nothing_private_of_pytorch_is_used_anywhere_else() -> None:
    package = Path(kernels.__file__).parents[1]
    private = re.compile(r"\btorch\.(_|ops\b)|\baten\b|\bnative_batch_norm\b|from torch\._")
    for file in package.rglob("*.py"):
        if file.name != "kernels.py":
            code = [line for line in file.read_text().splitlines() if "``torch." not in line and "(torch._" not in line]
            assert not private.search("\n".join(code)), file
