"""What a study found, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def interval(estimate: Sequence[float], scale: float = 1, decimals: int = 2) -> str:
    """A number with its interval, as 0.71 [0.65, 0.78]."""
    value, low, high = (f"{scale * each:.{decimals}f}" for each in estimate)
    return f"{value} [{low}, {high}]"


def table(columns: Sequence[str], rows: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """A row for each name."""
    yield f"| {' | '.join(columns)} |"
    yield "|" + "---|" * len(columns)
    for name, cells in rows.items():
        yield f"| {name} | {' | '.join(cells)} |"
    yield ""


def by_value(found: Mapping[str, Sequence[float]]) -> list[str]:
    """Names, the best first."""
    return sorted(found, key=lambda name: -found[name][0])


def predicted(found: Mapping[str, Any], what: str, reference: str) -> Iterator[str]:
    """The table of how well methods predict retrainings."""
    order = by_value({name: of["score"] for name, of in found.items()})
    rows = {name: [interval(found[name][column], 100, 1) for column in ("score", "beyond")] for name in order}
    return table([what, "linear datamodeling score × 100", f"beyond “{reference}”"], rows)


def holders(kind: str, found: Mapping[str, Any]) -> Iterator[str]:
    """How well groups of a kind are named, by each measure; and how they were forgotten."""
    for measure, seeds in found["ceiling"].items():
        of = found[measure]
        order = by_value({name: each["spearman"] for name, each in of.items()})
        columns = ("spearman", "beyond", "beyond_size", "ndcg", "ndcg_beyond", "top")
        rows = {name: [interval(of[name][column]) for column in columns] for name in order}
        titles = [
            "rank correlation",
            "beyond “group forgotten”",
            "beyond “size”",
            "NDCG@3",
            "NDCG@3 beyond it",
            "top-1",
        ]
        yield from table([f"{kind}, by {measure}", *titles], rows)
        if seeds is not None:
            yield f"Rank correlation of what two training seeds find, {kind}, by {measure}: {seeds:.2f}."
            yield ""
    first, last = found["steps"]
    yield f"{found['converged']} of {len(found['sizes'])} {kind} were forgotten before the step cap, in {first} to {last} steps,"
    yield f"and on average {found['of which converged']:.1f} of the {found['pseudo-groups']} pseudo-groups of each."
    yield ""


def tables(found: Mapping[str, Any]) -> str:
    """The tables of a study's results, best first."""
    lines: list[str] = []
    if "datamodeling" in found:
        lines += predicted(found["datamodeling"], "method", "MUCS")
    if "counterfactual" in found:
        moved = found["counterfactual"]
        measures = list(next(iter(moved.values())))
        order = by_value({name: of["MSE"]["auc"] for name, of in moved.items()})
        rows = {name: [interval(moved[name][measure]["auc"]) for measure in measures] for name in order}
        lines += table(["AUC against random", *measures], rows)
        rows = {name: [interval(moved[name][measure]["ratio"], 1, 1) for measure in measures] for name in order}
        lines += table(["change against random, %", *measures], rows)
        rows = {name: [interval(moved[name][measure]["controls"]) for measure in measures] for name in order}
        lines += table(["AUC of the controls", *measures], rows)
    if "suspicions" in found:
        asked = found["suspicions"]
        columns = {
            "look_alikes": "seen against unseen look-alikes",
            "unrelated": "of unrelated",
            "equally_known": "of look-alikes known as well",
            "pixels": "with pixels",
            "features": "with features",
        }
        rows = {
            name: [interval(of[column]) if of[column] else "too few pairs" for column in columns]
            for name, of in asked.items()
        }
        lines += table(["method", *columns.values()], rows)
    if "payments" in found:
        paid = found["payments"]
        rows = {
            name: [
                *(interval(of[column], 100, 1) for column in ("unseen", "alike")),
                interval(of["ratio"]),
                f"{100 * of['unpaid']:.0f}",
            ]
            for name, of in paid.items()
        }
        lines += table(["score and bound", "to unseen, %", "of look-alikes, %", "ratio", "nothing counts, %"], rows)
    for kind, of in found.get("holders", {}).items():
        lines += holders(kind, of)
    if "ablations" in found:
        lines += predicted(found["ablations"], "design choice", "as it is")
    if "sanity" in found:
        rows = {
            name: [f"{value:.2f}" if isinstance(value, float) else str(value)]
            for name, value in found["sanity"].items()
        }
        lines += table(["control", "found"], rows)
    if "converged" in found:
        count, total = found["converged"], found["plan"]["generated"]
        lines.append(f"Unlearning converged for {count} of {total} generated items.")
        if count < total:
            lines.append(
                "The scores of the others understate: raise max_steps or learning_rate of the study's unlearning, in flows/studies.yaml."
            )
    return "\n".join(lines)
