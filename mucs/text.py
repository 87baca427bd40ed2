"""Text from outside: whether it is fit to be shown, and as a terminal or a spreadsheet may have it."""

from __future__ import annotations

import re
import unicodedata

MOST = 1000  # characters of a name
MOST_SHOWN = 10_000  # characters of a line
# controls, formats (which turn the direction of what follows, or cannot be seen), surrogates, separators of lines
UNFIT = {"Cc", "Cf", "Cs", "Zl", "Zp"}
JOINERS = "\u200c\u200d"  # formats that Persian, the languages of India, and emoji need
NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
# what a spreadsheet takes for a formula, also behind blanks, quotes and the separator of half of Europe
FORMULA = re.compile(r"(^|;)([\s\"']*)([=+\-@\uff1d\uff0b\uff0d\uff20])")


def unfit(character: str) -> bool:
    """Whether a character is none to be shown: it cannot be seen, or it acts on what stands around it."""
    return not character.isprintable() and unicodedata.category(character) in UNFIT and character not in JOINERS


def is_fit(text: str, most: int = MOST) -> bool:
    """Whether a text can be shown as it is: one line of at most `most` characters, none of which is unfit."""
    return len(text) <= most and (text.isprintable() or not any(map(unfit, text)))


def for_terminal(text: str, most: int = MOST_SHOWN) -> str:
    r"""The text on one line, unfit characters written as Python writes them (\n, \x1b, \u202e), cut after `most`."""
    shown = text if len(text) <= most else text[:most] + "…"
    if shown.isprintable():
        return shown
    return "".join(c.encode("unicode_escape").decode() if unfit(c) else c for c in shown)


def as_clause(error: BaseException) -> str:
    """An error's sentence as a part of another one: with a small first letter, and without its full stop."""
    said = str(error)
    return said[:1].lower() + said[1:].rstrip(".")


def first_line(error: BaseException, most: int = 200) -> str:
    """What an error says first, as a part of a sentence: without an end mark, cut after `most`; its kind if it says nothing."""
    said = str(error).strip().partition("\n")[0].rstrip(".: ")
    return for_terminal(said or type(error).__name__, most)


def for_spreadsheet(text: str) -> str:
    """The text as a cell that no spreadsheet takes for a formula: an apostrophe goes before one. Numbers stay."""
    cell = for_terminal(text)
    return cell if NUMBER.fullmatch(cell) else FORMULA.sub(r"\1\2'\3", cell)
