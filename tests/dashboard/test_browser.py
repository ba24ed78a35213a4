"""Pages in Chromium: at the width of a phone and of a desk, in both colour schemes, and while a run goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import pytest

from tests.dashboard.conftest import ODD_MODEL, Database, Start, begin_run, epoch_ends, make_watchable, submitted
from tests.dashboard.site import Site
from tests.dashboard.test_pages import COPIES
from tests.timing import within

PAGES = (
    "/", "/runs/1", "/runs/2", "/runs/1/trials", "/runs/99", "/models", "/models/buyers?source=later&importance=yes",
    f"/models/{quote(ODD_MODEL, safe='')}", "/models/buyers/compare?left=1&right=2&source=later",
    "/models/buyers?source=none",
)  # fmt: skip

# Of every element that holds text of its own, the contrast with what is behind it; opacity counts.
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (text) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, under) => top.slice(0, 3).map((c, i) => c * top[3] + under[i] * (1 - top[3])).concat(1);
  const light = ([r, g, b]) => {
    const f = (c) => ((c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b);
  };
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(rgba(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((under, top) => over(top, under), rgba("Canvas"));
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility()) continue;
    if (element.closest("option, svg, .skip, .hidden, script, datalist")) continue;
    const under = behind(element);
    const [a, b] = [light(over(rgba(getComputedStyle(element).color), under)), light(under)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)}: ${element.outerHTML.slice(0, 120)}`);
  }
  return poor;
}"""


@contextmanager
def opened(browser: Any, site: Site, width: int = 1280, scheme: str = "light", refused: str = "404") -> Iterator[Any]:
    """A window that has come with the token. On its console may stand answers of one status, and nothing else."""
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    window = context.new_page()
    told: list[str] = []
    window.on("console", lambda message: told.append(message.text))
    window.on("pageerror", lambda error: told.append(str(error)))
    window.on("dialog", lambda dialog: told.append(f"dialog: {dialog.message}"))
    try:
        window.goto(site.url)
        yield window
    finally:
        context.close()
    assert not [text for text in told if f"status of {refused}" not in text], told


def until(window: Any, condition: str) -> None:
    """Wait until something is so on a page, whose policy lets no text be run as a script, so that it is asked."""
    began = time.monotonic()
    while not window.evaluate(condition):
        assert within(time.monotonic() - began, 0.0, 20.0), condition
        time.sleep(0.02)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_pages_fit_their_window_and_can_be_read(browser: Any, site: Site, width: int, scheme: str) -> None:
    with opened(browser, site, width, scheme) as window:
        for path in PAGES:
            window.goto(site.base + path)
            assert window.evaluate("document.documentElement.scrollWidth") <= width, path
            assert window.evaluate(CONTRAST) == [], path
            dark = window.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 29)"
            assert dark == (scheme == "dark")


def test_every_field_has_a_name_and_every_table_has_heads(browser: Any, site: Site) -> None:
    with opened(browser, site) as window:
        for path in PAGES:
            window.goto(site.base + path)
            for kind, lacking in (
                ("input:not([type=hidden]), select", "!one.labels.length && !one.ariaLabel"),
                ("table", "!one.querySelector('thead th')"),
                (".scroll", "one.tabIndex !== 0 || !(one.ariaLabel || one.getAttribute('aria-labelledby'))"),
                ("figure", "one.tabIndex !== 0 || !one.querySelector('svg[role=img][aria-label]')"),
            ):
                found = f"[...document.querySelectorAll({kind!r})].filter((one) => {lacking}).length"
                assert window.evaluate(found) == 0, (path, kind)
            assert window.evaluate("document.querySelectorAll('h1').length") == 1


def test_curves_are_drawn_and_say_what_is_pointed_at(browser: Any, site: Site, shop: Database) -> None:
    trained = shop.sql("SELECT count(DISTINCT architecture), max(rung) FROM trails.trials WHERE run_id = 1")[0]
    best = "SELECT architecture, validation_metric FROM trails.candidates WHERE run_id = 1 AND rank = 1"
    winner, metric = shop.sql(best)[0]
    with opened(browser, site) as window:
        window.goto(site.base + "/runs/1")
        window.wait_for_selector("#curves g.line")
        assert window.locator("#curves g.line").count() == trained[0]
        assert window.locator("#curves line.mark").count() == trained[1]
        assert f"{winner} (winner)" in window.inner_text("#curves .legend")
        dots = window.locator("#curves g.line.winner circle")
        spots = [dots.nth(place).bounding_box() for place in range(dots.count())]
        top = min(spots, key=lambda box: box["y"])
        window.mouse.move(top["x"] + top["width"] / 2, top["y"] + top["height"] / 2)
        told = window.inner_text("#curves output")
        assert told.startswith(f"{winner} · epoch ") and f"{metric:.5f}" in told
        window.mouse.move(0, 0)
        assert window.inner_text("#curves output") == ""
        window.focus("#curves")
        window.keyboard.press("ArrowLeft")
        assert winner in window.inner_text("#curves output")
        window.keyboard.press("ArrowLeft")
        first = window.inner_text("#curves output")
        window.keyboard.press("ArrowDown")
        assert window.inner_text("#curves output") != first
        assert window.locator("#curves g.chosen").count() == 1
        window.goto(site.base + "/models/buyers?source=later")
        window.wait_for_selector("#thresholds g.line")
        assert window.locator("#thresholds g.line").count() == 3
        assert window.locator("#thresholds line.mark").count() == 1


def test_the_keyboard_leads_through_a_filter(browser: Any, site: Site) -> None:
    with opened(browser, site) as window:
        window.keyboard.press("Tab")
        assert window.evaluate("document.activeElement.className") == "skip"
        window.get_by_label("Source contains").fill("ird")
        window.keyboard.press("Enter")
        window.wait_for_url("**source=ird**")
        assert window.locator("table.cards tbody tr").count() == 1


def test_a_run_grows_while_it_is_looked_at(browser: Any, bare: Database, start: Start) -> None:
    make_watchable(bare)
    begin_run(bare, 3)
    epoch_ends(bare, 3, 1, "8-8", 1, 0.6)
    site = start(dsn=bare.dsn())
    with opened(browser, site) as window:
        asked: list[str] = []
        window.on("request", lambda request: asked.append(request.url))
        window.wait_for_selector("#running li")
        assert "Run 3" in window.inner_text("#running") and "3 s of 20 s" in window.inner_text("#running")
        window.click("#running a")
        window.wait_for_selector("#board tbody tr")
        document = [url for url in asked if url.endswith("/runs/3")]
        # The next epochs: each is to be there within two seconds of its end.
        for place, (name, epoch, metric) in enumerate([("8-8", 2, 0.7), ("<b>16-8</b>", 1, 0.8)], 2):
            epoch_ends(bare, 3, place, name, epoch, metric)
            began = time.monotonic()
            until(window, f"document.querySelector('#board').innerText.includes('{metric:.5f}')")
            assert within(time.monotonic() - began, 0.0, 2.0)
        assert window.locator("#board tbody tr").first.inner_text().split() == ["1", "<b>16-8</b>", "0.80000", "0", "1"]
        assert window.locator("#curves g.line").count() == 2
        assert "(best so far)" in window.inner_text("#curves .legend")
        # Nothing that is there is asked for again, and nothing at all while nobody looks.
        afters = [int(url.rpartition("=")[2]) for url in asked if "/runs/3/live" in url]
        assert afters == sorted(afters) and afters.count(0) == 1 and len(document) == 1
        window.evaluate("Object.defineProperty(document, 'hidden', { get: () => window.away, configurable: true })")
        window.evaluate("window.away = true; document.dispatchEvent(new Event('visibilitychange'))")
        time.sleep(0.5)
        before = len(asked)
        epoch_ends(bare, 3, 4, "32-8", 1, 0.9)
        time.sleep(2.5)
        assert len(asked) == before
        window.evaluate("window.away = false; document.dispatchEvent(new Event('visibilitychange'))")
        until(window, "document.querySelector('#board').innerText.includes('0.90000')")
        # Its end: the record takes its place.
        bare.sql("DELETE FROM trails.progress")
        until(window, "document.querySelector('#state')?.innerText === 'ended'")
        bare.sql(COPIES, 3)
        window.wait_for_selector("#plan-title")
        assert window.inner_text("h1") == "Run 3 complete"
        window.click("nav a >> text=Runs")
        window.wait_for_selector("table.cards")
        bare.sql(COPIES, 1)
        window.wait_for_selector("#newer:not([hidden])")


def test_the_best_of_a_loss_is_the_smallest(browser: Any, bare: Database, start: Start) -> None:
    make_watchable(bare)
    begin_run(bare, 3, metric=None)
    site = start(dsn=bare.dsn())
    with opened(browser, site) as window:
        window.goto(site.base + "/runs/3")
        window.wait_for_selector("#board")
        assert window.inner_text("#metric") == "metric"
        bare.sql("UPDATE trails.progress SET metric = 'log_loss'")
        for place in range(1, 71):
            epoch_ends(bare, 3, place, f"{place}-8", 1, 0.5 + place / 1000)
        for place, metric in ((71, 0.3), (72, 0.6), (73, 40.0)):
            epoch_ends(bare, 3, place, "200-8", place - 70, metric)
        until(window, "document.querySelector('#board').innerText.includes('200-8')")
        assert window.inner_text("#metric") == "log loss"
        rows = [row.inner_text().split()[1:3] for row in window.locator("#board tbody tr").all()]
        assert rows[:3] == [["200-8", "0.30000"], ["1-8", "0.50100"], ["2-8", "0.50200"]]
        assert "200-8 (best so far)" in window.inner_text("#curves .legend")
        assert window.text_content("#curves svg").count("validation log loss") == 1
        # The worst ones are left out, and what is far above the others does not press them together.
        drawn = window.evaluate("[...document.querySelectorAll('#curves g.line')].map((line) => line.dataset.name)")
        assert len(drawn) == 60 and "70-8" not in drawn and "59-8" in drawn
        ticks = window.evaluate(
            "[...document.querySelectorAll('#curves text[text-anchor=end]')].map((t) => +t.textContent)"
        )
        assert max(ticks) < 1.0
        # It has not ended for that it cannot be asked, nor because it seemed so.
        bare.sql("ALTER TABLE trails.progress RENAME COLUMN k TO other")
        window.wait_for_selector("#fault:not([hidden])")
        assert window.inner_text("#state") == "at work"
        bare.sql("ALTER TABLE trails.progress RENAME COLUMN other TO k; UPDATE trails.progress SET run_id = 4")
        until(window, "document.querySelector('#state').innerText === 'ended'")
        bare.sql("UPDATE trails.progress SET run_id = 3")
        until(window, "document.querySelector('#state').innerText === 'at work'")
        bare.sql("DELETE FROM trails.progress")
        submitted(bare, 3, "failed", "it was killed")
        until(window, "document.querySelector('#state').innerText === 'failed'")
        assert "it was killed. A row is odd." in window.inner_text("#time")


def test_a_run_that_waits_is_followed_to_its_beginning(browser: Any, bare: Database, start: Start) -> None:
    make_watchable(bare)
    submitted(bare, 3, "queued")
    site = start(dsn=bare.dsn())
    for width, scheme in ((390, "dark"), (1280, "light")):
        with opened(browser, site, width, scheme) as window:
            for path in ("/", "/runs/3"):
                window.goto(site.base + path)
                assert window.evaluate("document.documentElement.scrollWidth") <= width, path
                assert window.evaluate(CONTRAST) == [], path
    with opened(browser, site) as window:
        window.click("#background a")
        window.wait_for_selector("#waiting")
        begin_run(bare, 3)
        window.wait_for_selector("#curves")
        assert window.inner_text("h1") == "Run 3 at work"


def test_a_dashboard_that_was_started_anew_is_told(browser: Any, bare: Database, start: Start) -> None:
    make_watchable(bare)
    begin_run(bare, 3)
    site = start(dsn=bare.dsn())
    with opened(browser, site, refused="403") as window:
        window.goto(site.base + "/runs/3")
        window.context.clear_cookies()
        window.wait_for_selector("#fault:not([hidden])")
        assert "started anew" in window.inner_text("#fault")


def test_buttons_stop_a_run(browser: Any, bare: Database, start: Start) -> None:
    make_watchable(bare)
    begin_run(bare, 3)
    site = start("--actions", dsn=bare.dsn())
    with opened(browser, site) as window:
        window.goto(site.base + "/runs/3")
        window.click("text=Stop, and keep the best so far")
        until(window, "document.querySelector('#state')?.innerText === 'stopping'")
    assert bare.sql("SELECT stopping FROM trails.progress") == [(True,)]


def test_a_real_run_is_watched_from_its_start_to_its_record(browser: Any, bare: Database, start: Start) -> None:
    bare.sql(
        "CREATE TABLE t AS SELECT i AS id, mod(i, 2) AS label, mod(i * 7, 11) AS a, mod(i * 5, 13) AS b "
        "FROM generate_series(1, 3000) i"
    )
    run = threading.Thread(
        target=bare.sql, args=("SELECT 1 FROM trails.model_selection('t', 'label', '40 s', k => 3, u => 2)",)
    )
    site = start(dsn=bare.dsn())
    with opened(browser, site) as window:
        run.start()
        try:
            window.wait_for_selector("#running li a", timeout=60_000)
            window.click("#running li a")
            window.wait_for_selector("#board tbody tr", timeout=60_000)
            window.wait_for_selector("#plan-title", timeout=60_000)
        finally:
            run.join()
        until(window, "document.querySelectorAll('#curves g.line').length === 3")
