"""Texts that may be numbers, dates or times, for tests of `trails.table.readings` and of its counterpart in Rust.

``python -m tests.core.spelt`` writes ``tests/protocol/readings.json``, which the tests of both languages read.
"""

# ruff: noqa: E501
from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from trails.table.readings import READINGS, is_missing, poll, said

FILE = Path(__file__).parent.parent / "protocol" / "readings.json"

CRAFTED = [
    "1,234.50", "1.234,50", "10,000+", "12 %", "€ 5", "$-5", "-$5", "-$-5", "$5€", "5 kg", "01234", "0", "00", "0.5", ".5",
    "5.", ".", ",", "1e3", "1E-7", "1e+3", "1e", "1e1234", "1e999", "-1e-999", "1 234 567", "1\u202f234,5", "1'234.5",
    "1\u2019234", "12,5", "1,23", "1,2345", "1,234,5", "1,234,567.", "0,123", "0.123", "(5)", "5%+", "+", "--5", "\u22125",
    "123456789012345", "1234567890123456", "1" * 70, "0." + "3" * 61, "0." + "3" * 63, "1" + "e" * 3, "½", "\uff11\uff12", "\u0663", "1_000",
    "0x10", "inf", "NaN", "N/A", " ? ", "\\N", "\u00a0", "\t7\n", "\u017f", "NULL", "Unknown", "Kg", "K", "5 +", "5 $", "5$+", "£ +5",
    "2004-03-10", "2004-3-5", "2004-02-30", "2000-02-29", "1900-02-29", "0000-01-01", "0001-01-01", "9999-12-31",
    "10/03/2004", "25/12/2004", "12/25/2004", "10-03-2004", "10.03.2004", "03.25.2004", "2004/03.10", "2004.03.10",
    "1/1/04", "20040310", "2004-03-10 18:00", "2004-03-10T18:00:00Z", "2004-03-10 18:00:00.123456789", "2004-03-10  1:00",
    "2004-03-10 18:00:00+02", "2004-03-10 18:00:00 -0330", "2004-03-10T18:00:00+05:30", "2004-03-10T18:00:00+16",
    "2004-03-10T18:00:00+02:", "2004-03-10 ", "2004-03-10T", "2004-03-10x", "10/03/2004 18.00.00", "2004-03-101",
    "9:00", "09:00", "24:00", "23:59:59", "23:59:60", "12:60", "3:1", "9:00:00.5", "9:00:00.", "18.00.00", "8.00.00",
    "18.00", "123:00", "12:000", "9:00 am", "12:30:5", "5381:1",
    "7" + " " * 195, "7" + " " * 196, "\u00a0" * 97 + "7", "\u00a0" * 98 + "7", " " * 196, " " * 197, "?" + "\u2009" * 65, "?" + "\u2009" * 66,
]  # fmt: skip
"""One text for each rule, and beside it what it keeps out."""

_PIECES = [
    "0", "1", "05", "12", "30", "59", "123", "234", "567", "2004", "2025", "31", ",", ",", ".", ".", "'", "\u2019", " ", "\u00a0", "\u202f",
    "+", "-", "\u2212", "$", "€", "£", "¥", "%", "e3", "E-2", "e+", ":", ":", ":", "/", "/", "-", "T", "Z", "+02", "-0330", "x", "\t",
]  # fmt: skip


def made_up(count: int, seed: int) -> list[str]:
    """Texts of random pieces, and of forms that are nearly right."""
    draw = random.Random(seed)

    def number() -> str:
        by = draw.choice(["", "", ",", ".", "'", " ", "\u202f"])
        whole = by.join(
            [str(draw.randint(0, 999)), *(f"{draw.randint(0, 999):03d}" for _ in range(draw.randint(0, 3)))]
        )
        part = draw.choice(["", draw.choice(".,") + str(draw.randint(0, 10**6))])
        return draw.choice(["", "-", "+", "$", "€ ", "-£"]) + whole + part + draw.choice(["", "", "%", " €", "+", "e5"])

    def moment() -> str:
        numbers = [str(draw.choice([draw.randint(1, 13), draw.randint(1, 32)])) for _ in range(2)]
        numbers.insert(draw.choice([0, 2]), str(draw.randint(1990, 2030)))
        day = draw.choice("-/.").join(numbers)
        clock = f"{draw.randint(0, 24)}:{draw.randint(0, 60):02d}" + draw.choice(
            ["", f":{draw.randint(0, 60):02d}", ":07.25"]
        )
        zone = draw.choice(["", "", "Z", "+02", " -03:30", "+1"])
        return draw.choice([day, clock, f"{day} {clock}{zone}", f"{day}T{clock}{zone}"])

    def pieces() -> str:
        return "".join(draw.choice(_PIECES) for _ in range(draw.randint(1, 8)))

    return [draw.choice([number, moment, pieces])() for _ in range(count)]


def polls() -> list[list[str]]:
    """Columns' texts: of every reading, at the edges of enough and too few, ambiguous ones and codes."""
    days = [f"{1 + n % 28}/{1 + n % 12}/20{10 + n % 20}" for n in range(60)]
    both = [f"{1 + n % 12}/{1 + n % 11}/2020" for n in range(60)]
    numbers = [f"{n},{n % 10}" for n in range(60)]
    return [
        [str(n) for n in range(20)], [str(n) for n in range(19)], [str(n) for n in range(19)] + ["x"],
        [str(n) for n in range(38)] + ["a", "b"], [str(n) for n in range(38)] + ["a", "b", "c"],
        [str(n) for n in range(20)] + ["?", "N/A", " "], [f"{n:05d}" for n in range(90)], [str(n) + " " * 200 for n in range(40)], [str(n) for n in range(99)] + ["007"],
        numbers, [f"{n}.{n:03d}" for n in range(1, 60)], [f"{n}.{n:03d}" for n in range(1, 60)] + ["1.5", "2.25"],
        [f"${n}" for n in range(60)], [f"${n}" for n in range(60)] + ["€1"], [f"{n} %" for n in range(60)],
        days, both, [text.replace("/", ".") for text in both], [text + " 9:00" for text in both], [text + " 9:00" for text in days],
        [f"2020-{1 + n % 12:02d}-{1 + n % 28:02d}" for n in range(80)], [f"{1 + n % 12}/{1 + n % 28}/2020" for n in range(80)],
        [f"{n % 24}:{n:02d}" for n in range(60)], [f"{n}:1" for n in range(60)], [], ["", "?"],
    ]  # fmt: skip


def told(texts: list[str]) -> list[dict[str, Any]]:
    """What the rules of `trails.table.readings` say of texts."""
    found = []
    for text in texts:
        reads = {reading: value for reading in READINGS if (value := said(reading, text)) is not None}
        found.append({"text": text, "missing": is_missing(text), "said": reads})
    return found


def corpus() -> dict[str, Any]:
    """What the file holds."""
    return {
        "texts": told(CRAFTED + sorted(set(made_up(700, 1)))),
        "polls": [{"texts": texts, "chosen": poll(texts)} for texts in polls()],
    }


if __name__ == "__main__":
    whole = corpus()
    parts = (",\n".join(json.dumps(one) for one in whole[name]) for name in ("texts", "polls"))
    FILE.write_text('{{"texts": [\n{}\n], "polls": [\n{}\n]}}\n'.format(*parts))
