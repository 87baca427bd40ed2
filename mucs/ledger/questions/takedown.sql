-- Takedown: what does taking out a rights holder or a training item touch? Data sets, checkpoints, runs, generated items and money
-- in the statements that hold. items: those touched, of_items in all. share_of_all: of a data set's items, of what was attributed to
-- all generated items, or of a statement's pot; share_of_touched: of what was attributed to the generated items touched alone.
-- Shares without it: takedown_shares; item by item: takedown_items.
-- $target target: whoever holds the rights today; or a training item's id or the start of its SHA-256.
-- $top count = 10: how many edges of each generated item count.
-- $as_of time = infinity: answer from what the ledger knew then.
WITH taken AS MATERIALIZED (
    SELECT t.training_id, t.sha256 FROM theirs($target, $as_of) JOIN training_items t USING (training_id)
), counted AS (
    SELECT e.run_id, e.generated_id, e.training_id IN (SELECT training_id FROM taken) AS theirs, e.score::DOUBLE AS score
    FROM edges e JOIN speaking_as_of($as_of) s USING (run_id, generated_id)
    WHERE e.rank <= $top AND e.score > 0
), item AS MATERIALIZED (
    SELECT run_id, generated_id, bool_or(theirs) AS hit, coalesce(sum(score) FILTER (WHERE theirs), 0) / sum(score) AS share
    FROM counted GROUP BY ALL
), statements_then AS (
    SELECT sha256, contract, period_start, version
    FROM statements WHERE issued_at <= $as_of::TIMESTAMPTZ
    QUALIFY version = max(version) OVER (PARTITION BY contract, period_start)
), touched AS (
    SELECT
        1 AS place, 'training set' AS what, a.sha256 AS name, count(t.training_id) AS items, count(*) AS of_items,
        items / of_items AS share_of_all, NULL AS share_of_touched, NULL AS gross, NULL AS currency
    FROM members m JOIN artifacts a ON a.artifact_id = m.training_set_id LEFT JOIN taken t USING (training_id)
    GROUP BY a.sha256
    UNION ALL
    SELECT 2, 'checkpoint', c.sha256, count(*) FILTER (WHERE hit), count(*), avg(share), avg(share) FILTER (WHERE hit), NULL, NULL
    FROM item JOIN runs r USING (run_id) JOIN artifacts c ON c.artifact_id = r.checkpoint_id GROUP BY c.sha256
    UNION ALL
    SELECT 3, 'run', r.sha256, count(*) FILTER (WHERE hit), count(*), avg(share), avg(share) FILTER (WHERE hit), NULL, NULL
    FROM item JOIN runs r USING (run_id) GROUP BY r.sha256
    UNION ALL
    SELECT 4, 'generated items', NULL, count(*) FILTER (WHERE hit), count(*), avg(share), avg(share) FILTER (WHERE hit), NULL, NULL FROM item
    UNION ALL
    SELECT
        5, 'statement of ' || w.contract || ', ' || strftime(w.period_start, '%Y-%m') || ', ' || w.right_type, s.sha256,
        count(DISTINCT w.sha256) FILTER (WHERE t.sha256 IS NOT NULL), count(DISTINCT w.sha256),
        coalesce(sum(w.share) FILTER (WHERE t.sha256 IS NOT NULL), 0), NULL, sum(w.gross) FILTER (WHERE t.sha256 IS NOT NULL), w.currency
    FROM statement_works w JOIN statements_then s ON s.sha256 = w.statement
    LEFT JOIN (SELECT DISTINCT sha256 FROM taken) t ON t.sha256 = w.sha256
    GROUP BY w.contract, w.period_start, w.right_type, s.sha256, w.currency
)
SELECT what, items, of_items, share_of_all, share_of_touched, round(gross, 4) AS gross, currency, left(name, 16) AS sha256
FROM touched WHERE items > 0
ORDER BY place, what, name;
