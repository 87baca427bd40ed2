-- How does this generated item come to rest on this training item? The shortest ways from the one through run, checkpoints and data
-- sets to the other, none through the same thing twice.
-- $generated generated: its id, or the start of its SHA-256.
-- $training training: its id, or the start of its SHA-256.
-- $top count = 20: how many ways.
-- $as_of time = infinity: answer from what the ledger knew then.
WITH RECURSIVE parents AS MATERIALIZED (  -- else DuckDB 1.5 loses rows of the recursion, now and then
    SELECT child_sha256 AS child, parent_sha256 AS parent FROM derivations WHERE recorded_at <= $as_of::TIMESTAMPTZ
    UNION
    SELECT c.sha256, t.sha256
    FROM runs r JOIN artifacts c ON c.artifact_id = r.checkpoint_id JOIN artifacts t ON t.artifact_id = r.training_set_id
    WHERE r.loaded_at <= $as_of::TIMESTAMPTZ
), kinds AS (
    SELECT sha256, min(kind) || ' ' || left(sha256, 16) AS called FROM artifacts GROUP BY sha256
), ways AS (
    SELECT r.sha256 AS run, g.generated_id, c.sha256, [c.sha256] AS through, ['run ' || left(r.sha256, 16), 'checkpoint ' || left(c.sha256, 16)] AS way
    FROM speaking_as_of($as_of) s
    JOIN generated_items g USING (generated_id)
    JOIN runs r USING (run_id)
    JOIN artifacts c ON c.artifact_id = r.checkpoint_id
    WHERE is_called(g.id, g.sha256, $generated)
    UNION ALL
    SELECT run, generated_id, parent, through, way
    FROM (
        SELECT
            run, generated_id, p.parent, list_append(through, p.parent) AS through,
            list_append(way, coalesce(k.called, 'artifact ' || left(p.parent, 16))) AS way,
            rank() OVER (PARTITION BY run, generated_id, p.parent ORDER BY w.through) AS place
        FROM ways w JOIN parents p ON p.child = w.sha256 LEFT JOIN kinds k ON k.sha256 = p.parent
        WHERE NOT list_contains(through, p.parent)
    )
    WHERE place <= $top  -- the ways of one length that lead to one thing go on alike: as many of them as are asked for will do
)
SELECT g.id AS generated, array_to_string(way, ' → ') AS way, t.id AS training, e.rank, e.score::DOUBLE AS score, left(w.run, 16) AS run
FROM ways w
JOIN generated_items g USING (generated_id)
JOIN artifacts a ON a.sha256 = w.sha256
JOIN members m ON m.training_set_id = a.artifact_id
JOIN training_items t USING (training_id)
JOIN runs r ON r.sha256 = w.run
LEFT JOIN (  -- of all edges, which are too many to be joined before they are picked out
    SELECT * FROM edges
    WHERE generated_id IN (SELECT generated_id FROM generated_items g WHERE is_called(g.id, g.sha256, $generated))
) e ON e.run_id = r.run_id AND e.generated_id = g.generated_id AND e.training_id = t.training_id
WHERE is_called(t.id, t.sha256, $training)
ORDER BY len(through), way
LIMIT $top;
