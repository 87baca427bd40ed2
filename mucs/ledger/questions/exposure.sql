-- How much of what was generated rests on a rights holder's works, month by month? Months are those in which the ledger first
-- heard of the generated items. A generated item rests on the holder in proportion to the positive scores among its best edges.
-- $rights_holder target: whoever holds the rights today; or a training item's id or the start of its SHA-256.
-- $top count = 10: how many edges of each generated item count.
-- $as_of time = infinity: answer from what the ledger knew then.
WITH counted AS (
    SELECT e.generated_id, e.run_id, e.training_id IN (FROM theirs($rights_holder, $as_of)) AS theirs, e.score::DOUBLE AS score
    FROM edges e JOIN speaking_as_of($as_of) s USING (run_id, generated_id)
    WHERE e.rank <= $top AND e.score > 0
), items AS (
    SELECT
        generated_id, run_id, coalesce(sum(score) FILTER (WHERE theirs), 0) / sum(score) AS share, count(*) FILTER (WHERE theirs) AS edges
    FROM counted GROUP BY ALL
)
SELECT
    strftime(g.recorded_at AT TIME ZONE 'UTC', '%Y-%m') AS month,
    count(*) AS generated_items,
    count(*) FILTER (WHERE edges > 0) AS of_which_exposed,
    sum(edges)::BIGINT AS edges,
    avg(share) AS share,
    count(DISTINCT run_id) AS runs,
    arg_max(left(r.sha256, 16), run_id) AS latest_run
FROM items JOIN generated_items g USING (generated_id) JOIN runs r USING (run_id)
GROUP BY month
ORDER BY month;
