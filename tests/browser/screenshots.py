"""Pictures of the page, for the README and the documentation: light, dark, on a phone, and with 500 nodes.

python -m tests.browser.screenshots [DIRECTORY]     (default: docs/images)
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.browser.conftest import CHROMIUM

SMALL, LARGE = 8, 500
#: File, nodes, path, and how the browser looks.
PICTURES = (
    ("page-overview.png", SMALL, "/ui", {"color_scheme": "light"}),
    ("page-gpus.png", SMALL, "/ui/gpus", {"color_scheme": "light"}),
    ("page-dark.png", SMALL, "/ui/queues", {"color_scheme": "dark", "viewport": {"width": 1280, "height": 1020}}),
    ("page-application.png", SMALL, "/ui/applications/{app}", {"color_scheme": "light"}),
    ("page-phone.png", SMALL, "/ui", {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2}),
    ("page-500-nodes.png", LARGE, "/ui/gpus", {"color_scheme": "light"}),
)
_SIZE = {"width": 1280, "height": 760}


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "docs" / "images"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for nodes in (SMALL, LARGE):
            take(browser, nodes, folder)
        browser.close()


def take(browser: Browser, nodes: int, folder: Path) -> None:
    words = [sys.executable, "-m", "hrm.testing.large_site", f"--nodes={nodes}", "--finished=1000", "--busy=1.4"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        site = json.loads(process.stdout.readline())
        for name, of_nodes, path, look in PICTURES:
            if of_nodes != nodes:
                continue
            context = browser.new_context(base_url=site["address"], **{"viewport": _SIZE, **look})  # type: ignore[arg-type]
            page = context.new_page()
            page.goto(f"/ui/login#token={site['token']}")
            page.wait_for_selector("#connection[data-state=live]")
            if "{app}" in path:
                page.goto("/ui/applications?state=waiting")
                path = str(page.locator("tbody th a").first.get_attribute("href"))
            page.goto(path)
            page.wait_for_selector("#connection[data-state=live]")
            page.screenshot(path=folder / name)
            context.close()
        process.stdin.close()


if __name__ == "__main__":
    main()
