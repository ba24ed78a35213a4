"""A model's blob comes from anywhere: whatever is wrong with it is one error that says what."""

from __future__ import annotations

import contextlib
import time
import warnings
from typing import Any

import numpy as np
import pytest

from tests.core.forged import FORGED, FORGED_LOGARITHM, Parts, forged, mutated, verdict
from tests.core.forged_operations import FORGED_OPERATIONS, FORGED_RICH
from tests.core.test_encoder import table, texts
from tests.core.test_model import by_logarithm, made, rows
from tests.core.test_operations import rich
from tests.timing import within
from trails import bridge
from trails.errors import InvalidInput, UnusableData
from trails.model.onnx import to_onnx
from trails.model.store import Model
from trails.table.columns import Column
from trails.table.encoder import Encoder
from trails.table.fitting import Fitting
from trails.table.target import TASKS, learn_target
from trails.table.texts import text_column

SOUND, RICH = Parts(made("binary").to_bytes()), Parts(rich().to_bytes())
LOGARITHM = Parts(by_logarithm().to_bytes())
ALL = [
    *((SOUND, FORGED, name) for name in FORGED),
    *((SOUND.as_version_1(), FORGED, name) for name in FORGED),
    *((SOUND, FORGED_OPERATIONS, name) for name in FORGED_OPERATIONS),
    *((RICH, FORGED_RICH, name) for name in FORGED_RICH),
    *((LOGARITHM, FORGED_LOGARITHM, name) for name in FORGED_LOGARITHM),
]
IDS = [f"version {sound.header['version']}: {name}" for sound, _, name in ALL]


@pytest.mark.parametrize(("sound", "forgeries", "name"), ALL, ids=IDS)
def test_a_forged_model_is_refused_in_one_sentence(sound: Parts, forgeries: dict[str, Any], name: str) -> None:
    blob = forged(sound, name, forgeries)
    began = time.monotonic()
    with pytest.raises(InvalidInput) as caught:
        Model.from_bytes(blob)
    assert within(time.monotonic() - began, 0.0, 10.0)
    assert len(f"{caught.value.message}{caught.value.detail}{caught.value.hint}") < 2_000


def test_what_is_not_forged_is_read() -> None:
    """The forgeries are refused for what they are, not for how they were put together."""
    for parts, model in ((SOUND, made("binary")), (SOUND.as_version_1(), made("binary")), (RICH, rich())):
        assert Model.from_bytes(parts.blob()).to_bytes() == model.to_bytes()
    bare = SOUND.copy()
    bare.header["training"] = {"deep": [[[[]]]], "odd": "[{,", "large": 10**300}
    Model.from_bytes(bare.blob())


def models() -> list[Parts]:
    """Sound ones of every task, which together have both versions and every operation."""
    found = []
    for task in TASKS:
        plain = Parts(made(task).to_bytes())
        if task == "regression":
            plain.header["fields"][1]["reading"] = "number"
        found += [plain, plain.as_version_1()]
        found += [Parts(rich(task, leading).to_bytes()) for leading in (True, False)]
    return [*found, LOGARITHM]


def test_only_a_regression_of_version_2_has_a_logarithm() -> None:
    for task in ("binary", "multiclass"):
        parts = Parts(made(task).to_bytes())  # type: ignore[arg-type]
        parts.header["target"] = LOGARITHM.header["target"]
        with pytest.raises(InvalidInput):
            Model.from_bytes(parts.blob())
    old = LOGARITHM.as_version_1()
    old.header["target"]["scale"] = ["whatever"]
    assert Model.from_bytes(old.blob()).target.scale is None


def test_mutated_models_are_refused_or_used_without_harm() -> None:
    parsed, columns = 0, rows(7, 2)
    for place, parts in enumerate(models()):
        for seed in range(place, 3900, 13):
            blob = mutated(parts, seed)
            found = verdict(blob)
            if isinstance(found, str):
                with pytest.raises(InvalidInput):
                    bridge.describe_model(blob)
                continue
            parsed += 1
            bridge.describe_model(blob)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # weights that are large overflow
                with contextlib.suppress(InvalidInput):  # a text that is not the one that was hashed
                    to_onnx(found)
                with contextlib.suppress(InvalidInput):  # a column of another name or kind is not there
                    assert found.outputs(columns).shape == (7, found.target.outputs)
            assert found.to_bytes()
    assert 150 < parsed < 2700


def test_learnt_parts_of_no_length_are_read_back() -> None:
    rows = 40
    nothing = table(
        texts([f"once {row}" for row in range(rows)], "rare"),
        Column("gone", "float64", np.zeros(rows), nulls=np.ones(rows, np.uint8)),
        Column("day", "date", np.zeros(rows, np.int32), nulls=np.ones(rows, np.uint8)),
        Column("id", "idvalue", np.zeros(rows, np.int32), nulls=np.ones(rows, np.uint8)),
    )
    encoder = Encoder.fit(nothing, Fitting(min_count=2, numbers_as="bins"))
    assert [len(part.categories) + len(part.edges) for part in encoder.parts] == [0] * 6
    stored = Encoder.restore(encoder.describe(), encoder.tensors())
    assert np.array_equal(stored.transform(nothing).ids, encoder.transform(nothing).ids)


def test_more_fields_than_can_be_stored_are_refused_before_anything_is_learnt() -> None:
    column = Column("", "int32", np.zeros(1, np.int32))
    many = table(*(Column(f"c{place}", "int32", column.data) for place in range(16_385)))
    with pytest.raises(InvalidInput, match="too many to learn from") as caught:
        Encoder.fit(many)
    assert caught.value.sqlstate == "54011"


@pytest.mark.parametrize("name", ["x" * 1_001, "a\0b", "half \ud800"])
def test_a_column_whose_name_cannot_be_stored_is_refused_before_anything_is_learnt(name: str) -> None:
    with pytest.raises(InvalidInput, match="no model can store"):
        Encoder.fit(table(Column(name, "int32", np.arange(5, dtype=np.int32))))


def test_numbers_whose_squares_have_no_end_have_a_deviation_that_can_be_stored() -> None:
    target = learn_target(Column("y", "float64", np.array([1e300, -1e300, 5.0])))
    assert np.isfinite([target.mean, target.std]).all() and target.std > 1e299


def test_labels_that_are_kept_alike_are_refused() -> None:
    long = "x" * 250
    with pytest.raises(UnusableData, match="begin alike"):
        learn_target(text_column("y", [long + "a", long + "b", long + "a"]))
