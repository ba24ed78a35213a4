"""Pictures as tables hold them, and cells that are scored on them: against other ways to the same numbers."""

from __future__ import annotations

import io
import math
import time
import zlib
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from trails.errors import InvalidInput, UnusableData
from trails.family.cell.pixels import DEVIATION, MEAN, NotAPicture, of_bytes, of_numbers
from trails.filtering import cells
from trails.filtering.cells import deal, metrics_of, pictures_wanted, score_cells
from trails.filtering.phase import FilteringRequest
from trails.filtering.pool import combine_ranks
from trails.filtering.search import score_pool
from trails.space import picture_space
from trails.tfmem import Batch, ScoringSetting, parse_tfmems

Pixels = NDArray[np.uint8]


def noise(count: int, side: int = 8, seed: int = 1) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, side, side), np.uint8)


def encoded(pixels: Pixels, form: str = "PNG", mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).convert(mode).save(file, form)
    return file.getvalue()


def asked(**fields: Any) -> FilteringRequest:
    return FilteringRequest(**{"space": "nasbench201", "tfmem": "jacflow", "batch_size": 6, "k": 5, **fields})


def batches(request: FilteringRequest, classes: int = 3) -> tuple[Batch, ...]:
    pixels = noise(40)
    flat = np.stack([of_bytes(picture.tobytes()) for picture in pixels])
    labels = np.arange(40) % classes
    return deal(flat, labels, classes, metrics_of(request), request.batch_size, request.seed)[0]


def test_a_picture_is_the_same_in_every_form() -> None:
    [pixels] = noise(1, 16)
    flat = of_bytes(pixels.tobytes())
    expected = [(pixels[c] / 255 - MEAN[c]) / DEVIATION[c] for c in range(3)]
    np.testing.assert_allclose(flat, np.concatenate([channel.ravel() for channel in expected]), rtol=1e-14)
    np.testing.assert_array_equal(of_bytes(encoded(pixels)), flat)
    for dtype, shape in ((np.int16, (768,)), (np.int32, (3, 16, 16))):
        np.testing.assert_array_equal(of_numbers(pixels.ravel().astype(dtype), shape), flat)
    # Other numbers are taken as they are.
    for dtype in (np.float32, np.float64):
        np.testing.assert_allclose(of_numbers(flat.astype(dtype), (3, 16, 16)), flat, rtol=1e-6)
    # A JPEG is another picture, a little.
    smooth = np.broadcast_to(np.arange(16, dtype=np.uint8) * 8, (3, 16, 16)).copy()
    lossy, exact = of_bytes(encoded(smooth, "JPEG")), of_bytes(smooth.tobytes())
    assert 0 < np.abs(lossy - exact).max() < 0.2


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (encoded(noise(1)[0])[:60], "cannot be decoded"),
        (encoded(noise(1)[0])[:60] + b"\xff" * 90, "cannot be decoded"),
        (b"\xff\xd8\xff\xe0 is no JPEG", "cannot be decoded"),
        (b"some text", "cannot be decoded"),
        (b"", "cannot be decoded"),
        (bytes(3 * 9 * 8), "cannot be decoded"),
        (bytes(3 * 3 * 3), "has 3 pixels a side"),
        (bytes(3 * 257 * 257), "has 257 pixels a side"),
        (encoded(noise(1)[0], mode="L"), "is not square with three channels of 8 bits"),
        (encoded(noise(1)[0], mode="RGBA"), "is not square with three channels of 8 bits"),
        (encoded(noise(1)[0], mode="P"), "is not square with three channels of 8 bits"),
        (encoded(noise(1)[0][:, :4]), "is not square with three channels of 8 bits"),
        (encoded(np.zeros((3, 300, 300), np.uint8)), "has 300 pixels a side"),
    ],
)
def test_what_is_no_picture_is_told(content: bytes, told: str) -> None:
    with pytest.raises(NotAPicture, match=told) as refused:
        of_bytes(content)
    assert refused.value.detail


def test_a_file_that_says_it_is_huge_is_not_decoded() -> None:
    content = bytearray(encoded(noise(1)[0]))
    for side, told in ((9_000, "has 9000 pixels a side"), (60_000, "cannot be decoded")):
        content[16:24] = side.to_bytes(4, "big") * 2
        content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
        began = time.process_time()
        with pytest.raises(NotAPicture, match=told) as refused:
            of_bytes(bytes(content))
        assert time.process_time() - began < 1
        assert str(256 if side < 10_000 else side**2) in (refused.value.detail or "")


@pytest.mark.parametrize(
    ("numbers", "shape", "told"),
    [
        (np.full(192, 0.5), (8, 8, 3), "is not square"),
        (np.full(192, 0.5), (64, 3), "is not square"),
        (np.full(64, 0.5), (1, 8, 8), "is not square"),
        (np.zeros(0), (), "is not square"),
        (np.zeros(0), (0,), "is not square"),
        (np.array([*[0.0] * 191, math.nan]), (192,), "holds nan, which is no finite number"),
        (np.array([-math.inf, *[0.0] * 191], np.float32), (3, 8, 8), "holds -inf, which is no finite number"),
        (np.array([*[0] * 191, 256], np.int16), (192,), "holds 256: whole numbers of pixels are 0 to 255"),
        (np.array([-1, *[0] * 191], np.int32), (192,), "holds -1: whole numbers of pixels are 0 to 255"),
    ],
)
def test_what_is_no_array_of_a_picture_is_told(numbers: NDArray[Any], shape: tuple[int, ...], told: str) -> None:
    with pytest.raises(NotAPicture, match=told):
        of_numbers(numbers, shape)


def test_requests_are_checked_before_anything_is_read() -> None:
    assert pictures_wanted(asked(space="mlp4x20")) is None
    assert pictures_wanted(asked(tfmem="params")) == pictures_wanted(asked()) == 12
    assert pictures_wanted(asked(tfmem="zico+zen")) == 24
    for wrong, told in (
        ({"tfmem": "nothing"}, "there is no training-free metric 'nothing'"),
        ({"n": 0}, "n must be at least 1"),
        ({"n": 3}, "k = 5 cannot be chosen from n = 3"),
        ({"batch_size": 1, "tfmem": "jacob_cov"}, "batch_size = 1 is too small"),
        ({"sampler": "luck"}, "there is no sampler 'luck'"),
        ({"batch_size": 5000}, "batch_size = 5000 is too large"),
    ):
        with pytest.raises(InvalidInput, match=told) as refused:
            pictures_wanted(asked(**wrong))
        assert "nothing" not in told or "zen" in (refused.value.hint or "")


def test_pictures_are_dealt_to_batches_and_none_twice() -> None:
    flat = noise(9).reshape(9, -1).astype(float)
    repeated, labels = np.concatenate([flat, flat[:5]]), np.arange(14) % 9
    metrics = parse_tfmems("zico")
    (first, second), notices = deal(repeated, labels, 9, metrics, 4, 7)
    assert not notices and first.classes == 9 and first.task == "multiclass"
    used = np.concatenate([first.x, second.x])
    assert len(np.unique(used, axis=0)) == 8
    for batch in (first, second):
        assert batch.y is not None
        for x, y in zip(batch.x, batch.y, strict=True):
            assert int(y) in labels[(repeated == x).all(1)], "a picture keeps its class"
    again = deal(repeated, labels, 9, metrics, 4, 7)[0]
    np.testing.assert_array_equal(again[1].x, second.x)
    assert not np.array_equal(deal(repeated, labels, 9, metrics, 4, 8)[0][0].x, first.x)
    (small, _), notices = deal(repeated, labels, 9, metrics, 32, 7)
    assert len(small.x) == 4 and notices == ["batch_size is reduced to 4: only 9 different pictures were found"]
    with pytest.raises(UnusableData, match="too few pictures: 1 different ones where 4 are needed"):
        deal(flat[[0, 0, 0]], labels[:3], 9, metrics, 32, 7)


@pytest.mark.parametrize(
    ("space", "tfmem", "sampler", "n"),
    [
        ("nasbench201", "jacflow", None, 25),
        ("nasbench201", "snip", "reinforcement", 12),
        ("nasbench101", "synflow", "random", 4),
    ],
)
def test_cells_are_scored_and_ranked_as_by_the_general_way(space: str, tfmem: str, sampler: str | None, n: int) -> None:
    request = asked(space=space, tfmem=tfmem, sampler=sampler, n=n, k=4, seed=-3)
    drawn, where, metrics = batches(request), picture_space(space), parse_tfmems(tfmem)
    heard: list[tuple[int, int | None]] = []
    found = score_cells(request, drawn, told=lambda scored, of: heard.append((scored, of)))
    setting = ScoringSetting(192, -3 % 2**64, drawn)
    pool = score_pool(where, metrics, setting, n=n, sampler=sampler)
    best = pool.best(4)
    assert [cell.architecture for cell in found.best] == [
        where.format(where.architecture(int(index))) for index in pool.indices[best]
    ]
    np.testing.assert_allclose([cell.score for cell in found.best], pool.shown(metrics)[best], rtol=1e-6)
    for row, metric in zip(pool.scores, metrics, strict=True):
        np.testing.assert_allclose([dict(cell.scores)[metric.name] for cell in found.best], row[best], rtol=1e-6)
    assert (found.scored, found.failed, found.asked) == (n, pool.failed, n)
    assert heard == [(place + 1, n) for place in range(n)]
    for cell in found.best:
        design = where.parse(cell.architecture)
        assert (cell.parameters, cell.flops) == (where.parameters(design, 192), where.flops(design, 192))


def test_what_fails_ranks_last_and_is_counted() -> None:
    request = asked(tfmem="naswot+zen", n=15, k=15, seed=4, sampler="enumeration")
    found = score_cells(request, batches(request))
    # The first of the space are all but the last edge without an operation: nothing passes through these networks.
    failed = [cell for cell in found.best if not all(math.isfinite(score) for _, score in cell.scores)]
    assert found.failed == len(failed) and found.best[15 - len(failed) :] == failed
    assert all(math.isnan(cell.score) for cell in failed)
    kept = [dict(cell.scores) for cell in found.best]
    merits = combine_ranks([np.array([row[name] for row in kept]) for name in ("naswot", "zen")], ["higher", "higher"])
    np.testing.assert_allclose([cell.score for cell in found.best], merits)


def test_scoring_ends_before_the_deadline_with_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    request = asked(n=1000, tfmem="synflow")
    drawn = batches(request)
    now, took = 100.0, [1.0, 3.0, *[1.0] * 1000]

    def scored(*of: object) -> list[float]:
        nonlocal now
        now += took.pop(0)
        return [now]

    monkeypatch.setattr(cells, "_scores", scored)
    monkeypatch.setattr(cells, "time", SimpleNamespace(monotonic=lambda: now))
    # Cells begin at 100, 101, 104 ... 107; at 108 another of the three seconds of the longest would end too late.
    found = score_cells(request, drawn, deadline=110.0)
    assert (found.scored, found.asked, len(found.best), now) == (6, 1000, 5, 108.0)
    assert sorted(cell.seconds for cell in found.best) == [1, 1, 1, 1, 3], "higher is better: not the first"
    one = score_cells(request, drawn, deadline=0.0)
    assert (one.scored, one.asked) == (1, 1000), "the first is scored in any case"
    free = score_cells(asked(tfmem="synflow", seed=9), drawn, deadline=now + 20)
    assert (free.scored, free.asked) == (20, None), "as many as the time holds is what was asked for"
    assert score_cells(asked(tfmem="synflow", n=30), drawn).scored == 30
    with pytest.raises(InvalidInput, match="n = 20000 is not possible: space nasbench201 has 15625"):
        score_cells(asked(n=20_000), drawn)


def test_a_network_has_as_many_outputs_as_there_are_classes() -> None:
    request = asked(tfmem="weight_norm", n=1)
    [three], [many] = (score_cells(request, batches(request, classes)).best for classes in (3, 300))
    assert three.architecture == many.architecture and many.score > three.score + 1
