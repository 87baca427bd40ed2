"""Lineage: what a thing was made from and into, a step at a time, as a drawing that the server makes.

It shows one step around the thing that was asked for, and one more around each that the reader opens. What is not drawn is counted.
Versions are those that the runs used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from mucs import InputError
from mucs.explorer.page import Asked, Page
from mucs.explorer.view import View
from mucs.ledger.names import Unknown
from mucs.text import for_terminal

NODES, OF_A_KIND = 200, 12  # nodes that are drawn, and neighbours of one kind and node
PLACES = ("training", "training_set", "checkpoint", "runs", "generated", "statements")  # from left to right
OTHERS = {"held_out": 1, "calibration": 2, "batch": 4}  # the places of other artifacts
BOX, GAP, ROW = 150, 40, 46
# by the kind of a thing, its neighbours: their kind, and a query of key and label
NEIGHBOURS = {
    "generated": {
        "runs": "SELECT r.sha256 AS key, left(r.sha256, 12) AS label FROM speaking_as_of($as_of) s JOIN generated_items g USING (generated_id) JOIN runs r USING (run_id) WHERE g.sha256 = $key",
        "training": "SELECT t.sha256 AS key, t.id AS label FROM edges e JOIN speaking_as_of($as_of) s USING (run_id, generated_id) JOIN generated_items g USING (generated_id)"
        " JOIN training_items t USING (training_id) WHERE g.sha256 = $key AND e.rank <= 10 AND e.score > 0 ORDER BY e.rank",
    },
    "training": {
        "generated": "SELECT g.sha256 AS key, g.id AS label FROM edges e JOIN speaking_as_of($as_of) s USING (run_id, generated_id) JOIN generated_items g USING (generated_id)"
        " JOIN training_items t USING (training_id) WHERE t.sha256 = $key AND e.rank <= 10 AND e.score > 0 ORDER BY e.rank, label",
        "training_set": "SELECT DISTINCT a.sha256 AS key, left(a.sha256, 12) AS label FROM members m JOIN training_items t USING (training_id)"
        " JOIN artifacts a ON a.artifact_id = m.training_set_id JOIN runs r ON r.training_set_id = a.artifact_id"
        " WHERE t.sha256 = $key AND r.loaded_at <= $as_of::TIMESTAMPTZ ORDER BY key",
        "statements": "SELECT DISTINCT s.sha256 AS key, s.contract || ' ' || strftime(s.period_start, '%Y-%m') AS label FROM works w JOIN statements s USING (position)"
        " WHERE w.sha256 = $key AND s.issued_at <= $as_of::TIMESTAMPTZ ORDER BY label, key",
    },
    "runs": {
        **{
            kind: f"SELECT a.sha256 AS key, left(a.sha256, 12) AS label FROM runs r JOIN artifacts a ON a.artifact_id = r.{kind}_id WHERE r.sha256 = $key AND $as_of <> ''"
            for kind in ("checkpoint", "training_set", "held_out", "calibration", "batch")
        },
        "generated": "SELECT g.sha256 AS key, g.id AS label FROM attributions a JOIN runs r USING (run_id) JOIN generated_items g USING (generated_id)"
        " WHERE r.sha256 = $key AND r.loaded_at <= $as_of::TIMESTAMPTZ ORDER BY label",
        "statements": "SELECT sha256 AS key, contract || ' ' || strftime(period_start, '%Y-%m') AS label FROM statements"
        " WHERE list_contains(from_json(content::JSON->'header'->'runs', '[\"VARCHAR\"]'), $key) AND issued_at <= $as_of::TIMESTAMPTZ ORDER BY label, version",
    },
    "artifacts": {
        "runs": "SELECT r.sha256 AS key, left(r.sha256, 12) AS label FROM runs r JOIN artifacts a ON a.artifact_id IN"
        " (r.checkpoint_id, r.training_set_id, r.held_out_id, r.calibration_id, r.batch_id) WHERE a.sha256 = $key AND r.loaded_at <= $as_of::TIMESTAMPTZ ORDER BY r.run_id DESC",
        "training": "SELECT DISTINCT t.sha256 AS key, t.id AS label FROM members m JOIN artifacts a ON a.artifact_id = m.training_set_id JOIN training_items t USING (training_id)"
        " WHERE a.sha256 = $key AND t.recorded_at <= $as_of::TIMESTAMPTZ ORDER BY label",
        "checkpoint": "SELECT DISTINCT c.sha256 AS key, left(c.sha256, 12) AS label FROM runs r JOIN artifacts t ON t.artifact_id = r.training_set_id JOIN artifacts c ON c.artifact_id = r.checkpoint_id"
        " WHERE t.sha256 = $key AND r.loaded_at <= $as_of::TIMESTAMPTZ",
        "training_set": "SELECT parent_sha256 AS key, left(parent_sha256, 12) AS label FROM derivations WHERE child_sha256 = $key AND recorded_at <= $as_of::TIMESTAMPTZ",
    },
    "statements": {
        "runs": "SELECT unnest(from_json(content::JSON->'header'->'runs', '[\"VARCHAR\"]')) AS key, left(key, 12) AS label FROM statements WHERE sha256 = $key AND issued_at <= $as_of::TIMESTAMPTZ",
    },
}
THING = {
    "generated": "SELECT DISTINCT sha256 AS key, id AS label, 'generated' AS kind FROM generated_items WHERE is_called(id, sha256, $name) AND recorded_at <= $as_of::TIMESTAMPTZ",
    "training": "SELECT DISTINCT sha256 AS key, id AS label, 'training' AS kind FROM training_items WHERE is_called(id, sha256, $name) AND recorded_at <= $as_of::TIMESTAMPTZ",
    "runs": "SELECT sha256 AS key, left(sha256, 12) AS label, 'runs' AS kind FROM runs WHERE length($name) >= 8 AND starts_with(sha256, $name) AND loaded_at <= $as_of::TIMESTAMPTZ",
    "artifacts": "SELECT sha256 AS key, left(sha256, 12) AS label, min(kind) AS kind FROM (SELECT sha256, kind FROM artifacts UNION ALL"
    " SELECT unnest([child_sha256, parent_sha256]), 'training_set' FROM derivations WHERE recorded_at <= $as_of::TIMESTAMPTZ)"
    " WHERE length($name) >= 8 AND starts_with(sha256, $name) GROUP BY ALL",
    "statements": "SELECT sha256 AS key, contract || ' ' || strftime(period_start, '%Y-%m') AS label, 'statements' AS kind FROM statements"
    " WHERE length($name) >= 8 AND starts_with(sha256, $name) AND issued_at <= $as_of::TIMESTAMPTZ",
}


@dataclass
class Graph:
    """Nodes by kind and key with their labels, ties between them, and by node and kind how many neighbours are not drawn."""

    nodes: dict[tuple[str, str], str] = field(default_factory=dict)
    ties: set[tuple[tuple[str, str], tuple[str, str]]] = field(default_factory=set)
    more: dict[tuple[tuple[str, str], str], int] = field(default_factory=dict)


def page_of(kind: str) -> str:
    """Under which pages a kind of node lies."""
    return kind if kind in ("generated", "training", "runs", "statements") else "artifacts"


def lineage(asked: Asked, kind: str, name: str) -> Page:
    """The drawing around a thing, with what the reader opened."""
    if kind not in THING:
        raise Unknown(
            f"There is no lineage of {kind[:40]!r}; it is of generated, training, runs, artifacts or statements."
        )
    found = asked.ledger.rows(THING[kind], {"name": name, "as_of": asked.as_of})
    if not found:
        raise Unknown(
            f"The ledger has nothing of that kind called {name[:100]!r} as of this time; look for it with the search above."
        )
    if len({row["key"] for row in found}) > 1:
        raise InputError(f"Several are called {name[:100]!r}; give more of its SHA-256.")
    start = (found[0]["kind"], found[0]["key"])
    opened = [tuple(each.split(":", 1)) for each in asked.query.get("open", "").split(",") if ":" in each][:NODES]
    graph = Graph({start: found[0]["label"]})
    for node in [start, *opened]:
        if node in graph.nodes:  # what hangs on something that is not drawn is not drawn either
            _grow(asked, graph, node)
    rows = [
        {"from": f"{a[0]} {graph.nodes[a]}", "to": f"{b[0]} {graph.nodes[b]}", "from_sha256": a[1], "to_sha256": b[1]}
        for a, b in sorted(graph.ties)
    ]
    view = View("ties", "The same as a table", ["from", "to"], rows, "")
    rest = [
        {"around": graph.nodes[node], "kind": other.replace("_", " "), "count": count}
        for (node, other), count in graph.more.items()
    ]
    facts = {"nodes": len(graph.nodes), "not_drawn": rest}
    return Page(
        "lineage.html",
        f"Lineage of {found[0]['label']}",
        [view],
        facts,
        {"drawing": draw(asked, graph, start, opened, kind, name)},
    )


def _grow(asked: Asked, graph: Graph, node: tuple[str, str]) -> None:
    """Add the neighbours of a node, as far as there is room, and count the others."""
    for kind, sql in NEIGHBOURS[page_of(node[0])].items():
        if page_of(node[0]) == "artifacts" and kind == "training" and node[0] != "training_set":
            continue
        rows = asked.ledger.rows(
            f"SELECT key, any_value(label) AS label, count(*) OVER () AS n FROM ({sql}) GROUP BY key LIMIT {OF_A_KIND}"
            if "ORDER" not in sql
            else f"SELECT *, count(*) OVER () AS n FROM ({sql}) LIMIT {OF_A_KIND}",
            {"key": node[1], "as_of": asked.as_of},
        )
        drawn = 0
        for row in rows:
            other = (kind, row["key"])
            if other not in graph.nodes and len(graph.nodes) >= NODES:
                continue
            graph.nodes.setdefault(other, row["label"])
            graph.ties.add((node, other) if _place(kind) >= _place(node[0]) else (other, node))
            drawn += 1
        if rows and rows[0]["n"] > drawn:
            graph.more[node, kind] = rows[0]["n"] - drawn


def _place(kind: str) -> int:
    return PLACES.index(kind) if kind in PLACES else OTHERS.get(kind, 1)


def draw(asked: Asked, graph: Graph, start: tuple[str, str], opened: list[Any], kind: str, name: str) -> Markup:
    """The nodes in columns by kind, ties between them; each is a link, and has a sign that opens it."""
    columns: dict[int, list[tuple[str, str]]] = {}
    for node in graph.nodes:
        columns.setdefault(_place(node[0]), []).append(node)
    at = {}
    for across, place in enumerate(sorted(columns)):
        for down, node in enumerate(columns[place]):
            at[node] = (10 + across * (BOX + GAP), 10 + down * ROW)
    width, height = 10 + len(columns) * (BOX + GAP), 16 + ROW * max(map(len, columns.values()))
    head = Markup(
        '<svg class="lineage" viewBox="0 0 {} {}" width="{}" height="{}" role="group" aria-label="Lineage">'
    ).format(width, height, width, height)
    return (
        head
        + Markup("").join([*_ties(graph, at), *_boxes(asked, graph, at, start, opened, kind, name)])
        + Markup("</svg>")
    )


def _ties(graph: Graph, at: dict[tuple[str, str], tuple[int, int]]) -> Iterator[Markup]:
    for a, b in sorted(graph.ties):
        (x1, y1), (x2, y2) = at[a], at[b]
        yield Markup('<path class="tie" d="M{} {} C{} {} {} {} {} {}"/>').format(
            x1 + BOX, y1 + 18, x1 + BOX + GAP / 2, y1 + 18, x2 - GAP / 2, y2 + 18, x2, y2 + 18
        )


def _boxes(
    asked: Asked,
    graph: Graph,
    at: dict[tuple[str, str], tuple[int, int]],
    start: tuple[str, str],
    opened: list[Any],
    kind: str,
    name: str,
) -> Iterator[Markup]:
    for node, label in graph.nodes.items():
        x, y = at[node]
        called = for_terminal(label, 18)
        link = asked.link(page_of(node[0]), node[1])
        said = node[0].replace("_", " ").removesuffix("s")
        mark = "box start" if node == start else "box"
        yield Markup(
            '<a href="{}"><rect class="{}" x="{}" y="{}" width="{}" height="36" rx="4"/><text x="{}" y="{}" class="kind">{}</text><svg x="{}" y="{}" width="{}" height="20"><text y="13">{}</text></svg></a>'
        ).format(link, mark, x, y, BOX, x + 8, y + 14, said, x + 8, y + 16, BOX - 34, called)
        if node != start:
            is_open = node in opened
            rest = [each for each in opened if each != node]
            told = ",".join(":".join(each) for each in (rest if is_open else [*opened, node]))
            other = asked.link("lineage", kind, name, open=told)
            word = f"{'Close' if is_open else 'Open'} {said} {called}"
            yield Markup(
                '<a href="{}" aria-label="{}"><circle class="sign" cx="{}" cy="{}" r="9"/><text x="{}" y="{}" class="middle sign">{}</text></a>'
            ).format(other, word, x + BOX - 13, y + 18, x + BOX - 13, y + 22, "−" if is_open else "+")
