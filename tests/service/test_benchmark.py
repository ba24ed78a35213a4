"""The benchmark of the data service measures every route, sums up and draws."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from benchmarks import cache_service, harness, plots
from tests.service.conftest import TOKEN, Database, Serve


def test_every_route_is_measured_summed_up_and_drawn(
    database: Database, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.sql("CREATE TABLE numbers AS SELECT n, n % 7 AS m FROM generate_series(1, 20000) n")
    service = serve()
    monkeypatch.setattr(cache_service, "_TOKEN", TOKEN)
    rows = [
        {
            "route": route,
            "consumers": consumers,
            "repeat": 0,
            **cache_service.measure(route, consumers, "numbers", database.dsn, service.uri),
        }
        for route in cache_service.ROUTES
        for consumers in (cache_service.CONSUMERS if route in ("fresh", "held") else (1,))
    ]
    assert all(0 < row["first_seconds"] <= row["seconds"] and row["rows"] == 20_000 for row in rows)
    settings = {"dataset": "frappe", "seed": 0, "quick": True}
    document = harness.Document(
        tmp_path / "r" / "service.json", "cache_service", "", settings, [harness.session()], rows
    )
    document.write()
    lines = cache_service.summarise(document)
    assert len(lines) == 2 + len(rows) and "20,000 rows" in lines[0]
    assert len(plots.draw(cast(harness.Experiment, cache_service), document)) == 3
