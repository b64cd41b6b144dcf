"""Pictures of a report for the documentation: light, dark, on a phone, and of a comparison.

    morphogen search idarts --epochs 15 --steps-per-epoch 8 --seed 3 --run runs/first
    python benchmarks/report_images.py runs/first [COMPARED_RUN ...]

Writes docs/images/report-*.png, which show what a page looks like, and no result.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from morphogen import __version__
from morphogen.reports.page import render
from morphogen.reports.reading import read_run

IMAGES = Path(__file__).parents[1] / "docs" / "images"
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
SHOTS = {
    "light": (1200, 1500, "light"),
    "dark": (1200, 1300, "dark"),
    "phone": (360, 1500, "light"),
}


def main(paths: list[str]) -> None:
    runs = [read_run(Path(path)) for path in paths]
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        pages = {"one": runs[:1]} | ({"comparison": runs[1:]} if len(runs) > 1 else {})
        files = {name: Path(folder) / f"{name}.html" for name in pages}
        for name, shown in pages.items():
            files[name].write_text(render(shown, __version__), encoding="utf-8")
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for name, (width, height, scheme) in SHOTS.items():
            tab = browser.new_page(
                viewport={"width": width, "height": height},
                color_scheme="dark" if scheme == "dark" else "light",
                reduced_motion="reduce",
            )
            tab.goto(files["one"].as_uri())
            if name == "dark":  # further down, where the gates are
                tab.evaluate("document.getElementById('architecture-parameters').scrollIntoView()")
            tab.screenshot(path=IMAGES / f"report-{name}.png")
        if "comparison" in files:
            tab = browser.new_page(viewport={"width": 1200, "height": 1500})
            tab.goto(files["comparison"].as_uri())
            tab.screenshot(path=IMAGES / "report-comparison.png")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
