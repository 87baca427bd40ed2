"""What the documents say can be run is run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def scripts(page: str) -> dict[str, str]:
    """The page's Python blocks that begin with a file's name."""
    blocks = re.findall(r"```python\n# (\S+\.py)\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    return dict(blocks)


def test_links_between_documents_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "data/README.md"]:
        text = page.read_text()
        for link in re.findall(r"\]\((?!https?://)([^)]+)\)", text):
            name, _, anchor = link.partition("#")
            target = page.parent / name if name else page
            assert target.exists(), f"{page.name} links to {link}"
            if anchor:
                headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
                anchors = {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
                assert anchor in anchors, f"{page.name} links to {link}"


@pytest.mark.slow
def test_the_library_page_attributes_three_images(tmp_path):
    pages = scripts("docs/attribution.md")
    assert len(pages["ask.py"].strip().splitlines()) < 20
    said = {}
    for name in ("build.py", "ask.py", "holders.py"):
        (tmp_path / name).write_text(pages[name])
        done = subprocess.run([sys.executable, name], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        said[name] = done.stdout.strip().splitlines()
    assert len(said["ask.py"]) == 3
    assert all(answer.endswith("converged") for answer in said["ask.py"])
    assert len(said["holders.py"]) == 2 * 4
    assert [said["holders.py"][first].split()[0] for first in (0, 4)] == ["Ada", "Ben"]
