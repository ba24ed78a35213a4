"""Draws the figures of docs/dashboard.md: pages in Chromium, of runs that are made for them on a server of their own.

    tools/in_env.sh python tools/dashboard_figures.py

Takes five minutes. Frappe is loaded as `python -m trails load` finds it, else breast_cancer, which scikit-learn ships.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if not __package__:
    sys.path[0] = str(ROOT)

from PIL import Image  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402

from tools.server import DATABASE, Server, temporary_server  # noqa: E402

FIGURES = ROOT / "docs" / "figures"
COLOURS = 256
"""Of a figure: enough for pages, and half of the bytes."""


def main() -> None:
    """Draw all figures."""
    FIGURES.mkdir(exist_ok=True)
    with temporary_server() as server:
        name = load(server)
        select(server, name, "120 s", "")
        select(server, name, "60 s", "k => 3, u => 1, ")
        server.sql(DATABASE, f"SELECT 1 FROM trails.deploy('{name}@1', threshold => 0.4)")
        dashboard = subprocess.Popen(
            [sys.executable, "-m", "trails", "dashboard", "--dsn", server.uri(), "--port", "0"],
            env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert dashboard.stdout is not None
            draw(server, name, dashboard.stdout.readline().strip())
        finally:
            dashboard.terminate()
            dashboard.wait()


def load(server: Server) -> str:
    """Load the dataset; its name."""
    command = [sys.executable, "-m", "trails", "load", "frappe", "--substitute", "--dsn", server.uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.split("_train", 1)[0].rpartition(".")[2]


def select(server: Server, name: str, budget: str, more: str) -> None:
    """A run whose winner is kept."""
    server.sql(
        DATABASE,
        f"SELECT 1 FROM trails.model_selection('{name}_train', 'label', '{budget}', {more}"
        f"validation => '{name}_valid', name => '{name}')",
    )


def draw(server: Server, name: str, url: str) -> None:
    """Look at the pages, and at one of a run at work if the extension shows these."""
    base = url.partition("/?")[0]
    judged = f"/models/{name}?version=1&source={name}_test"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"] if os.geteuid() == 0 else []
        )
        for figure, path, width, scheme in (
            ("dashboard_runs", "/", 1280, "light"),
            ("dashboard_run", "/runs/1", 1280, "light"),
            ("dashboard_model", f"{judged}&importance=yes", 1280, "dark"),
            ("dashboard_compare", f"/models/{name}/compare?left=1&right=2&source={name}_test", 1280, "light"),
            ("dashboard_run_phone", "/runs/1", 390, "dark"),
        ):
            window = opened(browser, url, width, scheme)
            window.goto(base + path, wait_until="networkidle")
            keep(window, figure)
        if server.sql(DATABASE, "SELECT to_regclass('trails.progress') IS NOT NULL")[0][0]:
            run = threading.Thread(target=select, args=(server, name, "120 s", ""))
            run.start()
            window = opened(browser, url, 1280, "light")
            window.click("#running li a", timeout=60_000)
            window.wait_for_selector("#curves line.mark", timeout=60_000)
            keep(window, "dashboard_live")
            run.join()
        browser.close()


def opened(browser: Any, url: str, width: int, scheme: str) -> Any:
    """A window that has come with the token."""
    window = browser.new_context(viewport={"width": width, "height": 700}, color_scheme=scheme).new_page()
    window.goto(url)
    return window


def keep(window: Any, figure: str) -> None:
    """Write the whole page as it is."""
    path = FIGURES / f"{figure}.png"
    window.screenshot(path=path, full_page=True)
    with Image.open(path) as image:
        image.convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
            path, optimize=True
        )
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
