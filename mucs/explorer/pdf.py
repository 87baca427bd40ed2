"""PDF: what one rights holder is owed, as a document; the same bytes whenever it is made."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mucs.explorer.cells import number
from mucs.explorer.page import Page, Picture
from mucs.explorer.words import HEADINGS
from mucs.report import words
from mucs.text import for_terminal

if TYPE_CHECKING:
    from fpdf import FPDF

ACCOUNT = {
    "carried_in": "Carried in",
    "net": "Net of this statement",
    "difference": "Difference to the version before",
    "adjustments": "Adjustments",
    "paid": "Paid",
    "carried_out": "Carried out",
}
FONTS = {
    "": "figo",
    "B": "figbo",
}  # FiraGO, regular and bold: Latin, Greek, Cyrillic, Arabic, Hebrew, Devanagari, Thai, Georgian
MARGIN, SIDE, ACROSS = 18, 14, 3  # millimetres: of a page, of a picture; works in a row
WIDTHS = {"line": 3, "works": 3, "basis": 6, "share": 7}  # of columns, in proportion; 4 of others
INK, SOFT, MARK = (26, 31, 36), (84, 94, 104), (11, 93, 102)
PAGES = "\ue000" * 5  # stands for how many there are; no text from outside has it, as the font does not
LONGEST, SHORT = 500, 40  # characters of a text from outside, and of a work's name


def pdf(page: Page, picture: Picture) -> bytes:
    """The document of one rights holder as PDF.

    Args:
        page: The same as a page, as `statements.document` makes it.
        picture: Gives the WebP of an image by its SHA-256, or None.
    """
    facts, (lines, works) = page.facts, page.views
    with _paper(page) as paper:
        _head(paper, facts)
        _account(paper, facts)
        _why(paper, facts)
        _lines(paper, lines.columns, lines.rows)
        _works(paper, works.rows, picture)
        if works.reached:
            paper.text(f"These are the first {len(works.rows):,} works; there are more.")
        _made_from(paper, facts)
        return paper.bytes()


class _Paper:
    """A document that is written from top to bottom. Args: file: what it is written to, whose fonts are there."""

    def __init__(self, file: FPDF) -> None:
        from fpdf.fonts import TTFFont

        self.file = file
        font = file.fonts["firago"]
        assert isinstance(font, TTFFont)
        self._has = frozenset(font.cmap)

    def shown(self, text: Any) -> str:
        """A text as it can be shown: what cannot be seen, or is not in the font, by its code point."""
        told = for_terminal(str(text), LONGEST)
        return "".join(each if ord(each) in self._has else f"<U+{ord(each):04X}>" for each in told)

    def text(self, text: Any, size: float = 9.5, style: str = "", colour: tuple[int, int, int] = INK) -> None:
        """A paragraph."""
        self.file.set_font("firago", style, size)
        self.file.set_text_color(*colour)
        self.file.multi_cell(0, size * 0.5, self.shown(text), align="L", new_x="LMARGIN", new_y="NEXT")
        self.file.ln(1.5)

    def heading(self, text: str) -> None:
        """What begins a part, and is not the last thing on a page."""
        if self.file.will_page_break(30):
            self.file.add_page()
        self.file.ln(3)
        self.text(text, 11.5, "B")

    def table(self, heads: list[str] | None, rows: list[list[Any]], right: list[bool], widths: list[int]) -> None:
        """Rows of texts. Args: right: of each column, whether it is set to the right. widths: in proportion."""
        from fpdf.enums import TableBordersLayout
        from fpdf.fonts import FontFace

        self.file.set_font("firago", "", 8.5)
        self.file.set_text_color(*INK)
        self.file.set_draw_color(*SOFT)
        with self.file.table(
            first_row_as_headings=heads is not None,
            headings_style=FontFace(emphasis="", color=SOFT),
            borders_layout=TableBordersLayout.HORIZONTAL_LINES,
            text_align=["RIGHT" if each else "LEFT" for each in right],
            col_widths=tuple(widths),
            line_height=4.5,
            width=self.file.epw if heads else 100,
            align="LEFT",
        ) as table:
            for row in [*([heads] if heads else []), *rows]:
                table.row([self.shown(each) for each in row])
        self.file.ln(2)

    def bytes(self) -> bytes:
        """All of it."""
        return bytes(self.file.output())


@contextmanager
def _paper(page: Page) -> Iterator[_Paper]:
    """An empty document, with its fonts, which must lie in files while it is written."""
    import pymupdf_fonts
    from fpdf import FPDF

    facts = page.facts

    class Numbered(FPDF):
        def footer(self) -> None:
            self.set_y(-12)
            self.set_font("firago", "", 7.5)
            self.set_text_color(*SOFT)
            self.cell(0, 4, f"Statement {facts['statement'][:16]}…    {self.page_no()} of {PAGES}", align="R")

    file = Numbered(format="A4")
    file.alias_nb_pages(PAGES)
    with tempfile.TemporaryDirectory() as folder:
        for style, name in FONTS.items():
            path = Path(folder) / f"{name}.ttf"
            path.write_bytes(pymupdf_fonts.fontbuffers[name]())
            file.add_font("firago", style, path)
        file.set_text_shaping(True, features={"liga": False, "calt": False})  # so that text is found as it is written
        file.set_creation_date(facts["issued_at"])
        file.set_lang("en")
        file.set_margin(MARGIN)
        file.set_auto_page_break(True, MARGIN)
        paper = _Paper(file)
        file.set_title(paper.shown(page.title))
        file.set_author(paper.shown(facts["licensor"]))
        file.add_page()
        yield paper


def _head(paper: _Paper, facts: dict[str, Any]) -> None:
    paper.text(f"Statement of royalties, {words.month(facts['period'])}", 9, colour=SOFT)
    paper.text(facts["rights_holder"], 18, "B")
    verdict, *more = facts["owed"]
    paper.text(verdict, 12, "B", MARK)
    for sentence in more:
        paper.text(sentence)
    paper.text(
        f"Under contract {paper.shown(facts['contract'])}, version {facts['contract_version']}, by {paper.shown(facts['licensee'])}, through"
        f" {paper.shown(facts['licensor'])}. Statement {facts['title']}, issued {facts['issued_at']:%Y-%m-%d}. Amounts in {facts['currency']}."
    )


def _account(paper: _Paper, facts: dict[str, Any]) -> None:
    paper.heading("Account")
    paper.table(
        None,
        [
            [label, facts["account"][name]]
            for name, label in ACCOUNT.items()
            if name != "difference" or facts["supersedes"]
        ],
        [False, True],
        [3, 2],
    )
    if facts["adjustments"]:
        paper.heading("Adjustments")
        for each in facts["adjustments"]:
            paper.text(
                f"Dispute {each['dispute']}: {each['amount']} {facts['currency']}, {paper.shown(each['reason'])}"
            )


def _why(paper: _Paper, facts: dict[str, Any]) -> None:
    paper.heading("Why")
    for each in facts["why"]:
        paper.text(f"Line {each['line']}: {each['why']}")
    if facts["attributed"]:
        paper.text(f"{words.ESTIMATE} {words.MARGIN}", colour=SOFT)
        if facts["false_payments"]:
            paper.text(facts["false_payments"], colour=SOFT)


def _lines(paper: _Paper, columns: list[str], rows: list[dict[str, Any]]) -> None:
    paper.heading("Lines")
    heads = [HEADINGS.get(column, column).replace("_", " ") for column in columns]
    texts = [[_cell(row[column]) for column in columns] for row in rows]
    right = [column not in ("right_type", "basis") for column in columns]
    paper.table(heads, texts, right, [WIDTHS.get(column, 4) for column in columns])


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return str(value) if isinstance(value, str) else number(value).replace("\u202f", " ")


def _works(paper: _Paper, rows: list[dict[str, Any]], picture: Picture) -> None:
    """A picture, a name and an amount for each, some in a row."""
    paper.heading("Works")
    file = paper.file
    wide = file.epw / ACROSS
    for start in range(0, len(rows), ACROSS):
        if file.will_page_break(SIDE + 3):
            file.add_page()
        top = file.get_y()
        for place, row in enumerate(rows[start : start + ACROSS]):
            x = file.l_margin + place * wide
            _picture(paper, row["training_sha256"], picture, x, top)
            file.set_xy(x + SIDE + 2, top + 1)
            file.set_font("firago", "", 8)
            file.set_text_color(*INK)
            name = paper.shown(row["training"])
            cut = name if len(name) <= SHORT else f"{name[:SHORT]}…"
            while file.get_string_width(cut) > wide - SIDE - 6:
                cut = f"{cut[:-2]}…"
            told = f"{cut}\nline {row['line']}, {row['right_type']}\n{_cell(row['gross'])}"
            file.multi_cell(wide - SIDE - 3, 4, told, align="L")
        file.set_y(top + SIDE + 3)


def _picture(paper: _Paper, sha256: str, picture: Picture, x: float, y: float) -> None:
    webp = picture(sha256)
    if webp is not None:
        paper.file.image(io.BytesIO(webp), x, y, SIDE, SIDE, keep_aspect_ratio=True, alt_text=f"image {sha256[:16]}")
        return
    paper.file.set_draw_color(*SOFT)
    paper.file.rect(x, y, SIDE, SIDE)
    paper.file.set_font("firago", "", 6)
    paper.file.set_text_color(*SOFT)
    paper.file.set_xy(x, y + SIDE / 2 - 1.5)
    paper.file.cell(SIDE, 3, "no picture", align="C")


def _made_from(paper: _Paper, facts: dict[str, Any]) -> None:
    paper.heading("What it was made from, by SHA-256")
    for name, sha256 in facts["made_from"]:
        paper.text(f"{name}: {sha256}", 7.5, colour=SOFT)
