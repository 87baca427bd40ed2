-- How far do two runs of the same generated items differ? For each: how many of the best edges they share, how their scores
-- agree on those, and whether the best one is the same.
-- $first run: the start of a run's SHA-256.
-- $second run: the start of the other's.
-- $top count = 25: how many edges of each generated item are compared.
-- $as_of time = infinity: answer from what the ledger knew then.
WITH a AS (
    SELECT e.* FROM edges e JOIN runs r USING (run_id) WHERE starts_with(r.sha256, $first) AND rank <= $top AND r.loaded_at <= $as_of::TIMESTAMPTZ
), b AS (
    SELECT e.* FROM edges e JOIN runs r USING (run_id) WHERE starts_with(r.sha256, $second) AND rank <= $top AND r.loaded_at <= $as_of::TIMESTAMPTZ
)
SELECT
    g.id AS generated,
    count(*) FILTER (WHERE a.rank IS NOT NULL AND b.rank IS NOT NULL) / greatest(count(a.rank), count(b.rank)) AS overlap,
    bool_or(coalesce(a.rank = 1 AND b.rank = 1, false)) AS same_best,
    avg(abs(a.score - b.score)) AS mean_score_change,
    max(abs(a.score - b.score))::DOUBLE AS largest_score_change,
    $first AS first_run, $second AS second_run
FROM a FULL JOIN b ON a.generated_id = b.generated_id AND a.training_id = b.training_id
JOIN generated_items g ON g.generated_id = coalesce(a.generated_id, b.generated_id)
WHERE g.generated_id IN (SELECT generated_id FROM a) AND g.generated_id IN (SELECT generated_id FROM b)
GROUP BY g.id
ORDER BY overlap, generated;
