-- What was this generated item made from, through run, checkpoint and data sets, however many steps back? Where things are said to
-- be made from each other in a circle, each is told once.
-- $generated generated: its id, or the start of its SHA-256.
-- $as_of time = infinity: answer from what the ledger knew then.
WITH RECURSIVE parents AS MATERIALIZED (  -- else DuckDB 1.5 loses rows of the recursion, now and then
    SELECT child_sha256 AS child, parent_sha256 AS parent, 'registered' AS because FROM derivations WHERE recorded_at <= $as_of::TIMESTAMPTZ
    UNION
    SELECT c.sha256, t.sha256, 'a run says so'
    FROM runs r JOIN artifacts c ON c.artifact_id = r.checkpoint_id JOIN artifacts t ON t.artifact_id = r.training_set_id
    WHERE r.loaded_at <= $as_of::TIMESTAMPTZ
), line AS (
    SELECT 1 AS step, c.sha256, g.sha256 AS child, 'run ' || left(r.sha256, 16) AS because
    FROM speaking_as_of($as_of) s
    JOIN generated_items g USING (generated_id)
    JOIN runs r USING (run_id)
    JOIN artifacts c ON c.artifact_id = r.checkpoint_id
    WHERE is_called(g.id, g.sha256, $generated)
    UNION
    SELECT step + 1, p.parent, p.child, p.because
    FROM line l JOIN parents p ON p.child = l.sha256
    WHERE step <= (SELECT count(*) FROM parents)  -- no shortest way is longer; a circle has no end
)
SELECT
    min(step) AS step, coalesce(a.kind, 'not in any run') AS kind, l.sha256, l.child AS made_into, l.because,
    (SELECT count(*) FROM members m WHERE m.training_set_id = any_value(a.artifact_id)) AS items
FROM line l LEFT JOIN artifacts a ON a.sha256 = l.sha256
GROUP BY a.kind, l.sha256, l.child, l.because
ORDER BY step, kind, l.sha256;
