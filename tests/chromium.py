"""Chromium, where there is one, and what goes wrong in its pages."""

import contextlib
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

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
