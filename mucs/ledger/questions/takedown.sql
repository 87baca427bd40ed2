-- Takedown: what does taking out a rights holder or a training item touch? Data sets, checkpoints, runs, generated items and money
-- in the statements that hold. Shares without it: takedown_shares; item by item: takedown_items.
-- $target target: whoever holds the rights today; or a training item's id or the start of its SHA-256.
-- $top count = 10: how many edges of each generated item count.
-- $as_of time = infinity: answer from what the ledger knew then.
WITH taken AS MATERIALIZED (
    SELECT t.training_id, t.sha256 FROM theirs($target, $as_of) JOIN training_items t USING (training_id)
), counted AS (
    SELECT e.run_id, e.generated_id, e.training_id IN (SELECT training_id FROM taken) AS theirs, e.score::DOUBLE AS score
    FROM edges e JOIN speaking_as_of($as_of) s USING (run_id, generated_id)
    WHERE e.rank <= $top AND e.score > 0
), hit AS MATERIALIZED (
    SELECT run_id, generated_id, sum(score) FILTER (WHERE theirs) / sum(score) AS share
    FROM counted GROUP BY ALL HAVING bool_or(theirs)
), statements_then AS (
    SELECT sha256, contract, period_start, version
    FROM statements WHERE issued_at <= $as_of::TIMESTAMPTZ
    QUALIFY version = max(version) OVER (PARTITION BY contract, period_start)
), touched AS (
    SELECT 1 AS place, 'training set' AS what, a.sha256 AS name, count(DISTINCT t.training_id) AS items, NULL AS share, NULL AS gross, NULL AS currency
    FROM taken t JOIN members m USING (training_id) JOIN artifacts a ON a.artifact_id = m.training_set_id
    GROUP BY a.sha256
    UNION ALL
    SELECT 2, 'checkpoint', c.sha256, count(DISTINCT generated_id), avg(share), NULL, NULL
    FROM hit JOIN runs r USING (run_id) JOIN artifacts c ON c.artifact_id = r.checkpoint_id GROUP BY c.sha256
    UNION ALL
    SELECT 3, 'run', r.sha256, count(*), avg(share), NULL, NULL FROM hit JOIN runs r USING (run_id) GROUP BY r.sha256
    UNION ALL
    SELECT 4, 'generated items', NULL, count(DISTINCT generated_id), avg(share), NULL, NULL FROM hit
    UNION ALL
    SELECT
        5, 'statement of ' || w.contract || ', ' || strftime(w.period_start, '%Y-%m') || ', ' || w.right_type, s.sha256,
        count(DISTINCT w.sha256), sum(w.share), sum(w.gross), w.currency
    FROM statement_works w JOIN statements_then s ON s.sha256 = w.statement
    WHERE w.sha256 IN (SELECT sha256 FROM taken)
    GROUP BY w.contract, w.period_start, w.right_type, s.sha256, w.currency
)
SELECT what, items, share, round(gross, 4) AS gross, currency, left(name, 16) AS sha256
FROM touched WHERE items > 0
ORDER BY place, what, name;
