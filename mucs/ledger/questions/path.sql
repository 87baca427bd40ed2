-- How does this generated item come to rest on this training item? Every way from the one through run, checkpoints and data sets
-- to the other, however long.
-- $generated text: its id, or the start of its SHA-256.
-- $training text: its id, or the start of its SHA-256.
-- $as_of time = infinity: answer from what the ledger knew then.
WITH RECURSIVE parents AS MATERIALIZED (  -- else DuckDB 1.5 loses rows of the recursion, now and then
    SELECT child_sha256 AS child, parent_sha256 AS parent FROM derivations WHERE recorded_at <= $as_of::TIMESTAMPTZ
    UNION
    SELECT c.sha256, t.sha256
    FROM runs r JOIN artifacts c ON c.artifact_id = r.checkpoint_id JOIN artifacts t ON t.artifact_id = r.training_set_id
    WHERE r.loaded_at <= $as_of::TIMESTAMPTZ
), ways AS (
    SELECT c.sha256, ['run ' || left(r.sha256, 16), 'checkpoint ' || left(c.sha256, 16)] AS way, r.sha256 AS run, g.generated_id
    FROM speaking_as_of($as_of) s
    JOIN generated_items g USING (generated_id)
    JOIN runs r USING (run_id)
    JOIN artifacts c ON c.artifact_id = r.checkpoint_id
    WHERE is_called(g.id, g.sha256, $generated)
    UNION ALL
    SELECT
        p.parent, list_append(way, coalesce((SELECT min(a.kind) FROM artifacts a WHERE a.sha256 = p.parent), 'artifact') || ' ' || left(p.parent, 16)),
        run, generated_id
    FROM ways w JOIN parents p ON p.child = w.sha256
)
SELECT
    g.id AS generated, array_to_string(way, ' → ') AS way, t.id AS training, e.rank, e.score::DOUBLE AS score, left(w.run, 16) AS run
FROM ways w
JOIN generated_items g USING (generated_id)
JOIN artifacts a ON a.sha256 = w.sha256
JOIN members m ON m.training_set_id = a.artifact_id
JOIN training_items t USING (training_id)
JOIN runs r ON r.sha256 = w.run
LEFT JOIN edges e ON e.run_id = r.run_id AND e.generated_id = g.generated_id AND e.training_id = t.training_id
WHERE is_called(t.id, t.sha256, $training)
ORDER BY len(way), way;
