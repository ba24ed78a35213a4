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


def main() -> None:
    """Draw all figures."""
    FIGURES.mkdir(exist_ok=True)
    with temporary_server() as server, sync_playwright() as playwright:
        name = load(server)
        dashboard = subprocess.Popen(
            [sys.executable, "-m", "trails", "dashboard", "--dsn", server.uri(), "--port", "0"],
            env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
            stdout=subprocess.PIPE,
            text=True,
        )
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"] if os.geteuid() == 0 else []
        )
        try:
            assert dashboard.stdout is not None
            url = dashboard.stdout.readline().strip()
            watch(server, browser, url, name)
            select(server, name, "60 s", "k => 3, u => 1, ")
            server.sql(DATABASE, f"SELECT 1 FROM trails.deploy('{name}@1', threshold => 0.4)")
            draw(browser, url, name)
        finally:
            browser.close()
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


def watch(server: Server, browser: Any, url: str, name: str) -> None:
    """The first run, which is looked at while it goes on if the extension shows runs at work."""
    run = threading.Thread(target=select, args=(server, name, "120 s", ""))
    run.start()
    try:
        if server.sql(DATABASE, "SELECT to_regclass('trails.progress') IS NOT NULL")[0][0]:
            window = opened(browser, url, 1280, "light")
            window.click("#running li a", timeout=60_000)
            # After its first rung.
            window.wait_for_selector("#curves line.mark", state="attached", timeout=115_000)
            keep(window, "dashboard_live")
    finally:
        run.join()


def draw(browser: Any, url: str, name: str) -> None:
    """Look at what is recorded."""
    judged = f"/models/{name}?version=1&source={name}_test&importance=yes"
    for figure, path, width, scheme in (
        ("dashboard_runs", "/", 1280, "light"),
        ("dashboard_run", "/runs/1", 1280, "light"),
        ("dashboard_model", judged, 1280, "dark"),
        ("dashboard_compare", f"/models/{name}/compare?left=1&right=2&source={name}_test", 1280, "light"),
        ("dashboard_run_phone", "/runs/1", 390, "dark"),
    ):
        window = opened(browser, url, width, scheme)
        # The list asks every second, so that its network is never idle.
        window.goto(url.partition("/?")[0] + path)
        window.wait_for_timeout(1000)
        keep(window, figure)


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
        # Every colour as it is: of fewer, those of two phases may become one.
        image.convert("RGB").save(path, optimize=True)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
