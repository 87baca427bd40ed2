"""Chromium, where there is one, and what goes wrong in its pages."""

import contextlib
import shutil
from collections.abc import Iterator

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, Page, sync_playwright

RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
COLOURS = ("color-contrast", "link-in-text-block")
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FOUND = next(filter(None, map(shutil.which, NAMES)), None)
needed = pytest.mark.skipif(
    FOUND is None, reason="There is no Chromium here; on Debian, `apt-get install chromium` brings it."
)


@contextlib.contextmanager
def launched() -> Iterator[Browser]:
    """A browser, without its sandbox: tests may run as root, and it meets no page but ours."""
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=FOUND, args=["--no-sandbox"])
        yield made
        made.close()


@contextlib.contextmanager
def opened(browser: Browser, address: str, width: int = 1280, height: int = 800) -> Iterator[tuple[Page, list[str]]]:
    """A page of a new window, and what goes wrong in it: dialogs, errors, requests that fail or go elsewhere, what a policy forbids."""
    context = browser.new_context(viewport={"width": width, "height": height}, base_url=address)
    page, faults = context.new_page(), []

    def said(message):
        told = "status of 4" in message.text or "status of 5" in message.text  # an answer's status is said as well
        if message.type in ("error", "warning") and not told:
            faults.append(message.text)

    def asked(opened):
        faults.append(f"dialog: {opened.message}")
        opened.dismiss()

    def sent(request):
        if not request.url.startswith((f"{address}/", "data:")):
            faults.append(f"sent elsewhere: {request.url}")

    def failed(request):
        if request.failure != "net::ERR_ABORTED":  # by a click that leads to another page
            faults.append(f"failed: {request.url}")

    page.on("pageerror", lambda error: faults.append(f"error: {error}"))
    page.on("console", said)
    page.on("dialog", asked)
    page.on("request", sent)
    page.on("requestfailed", failed)
    yield page, faults
    context.close()


def violations(page: Page, rules: tuple[str, ...] = RULES) -> list[tuple[str, str]]:
    """What the rules of accessibility find in a page: the rule, and what breaks it."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    asked = {"runOnly": rules, "resultTypes": ["violations"]}
    found = page.evaluate("asked => axe.run(asked)", asked)["violations"]
    return [(each["id"], node["html"][:200]) for each in found for node in each["nodes"]]
