-- How much of what was attributed falls to each rights holder? Over the best edges with a positive score: each generated item
-- weighs the same, and is divided among its edges in proportion to their scores.
-- $run run = : the start of a run's SHA-256; empty for whatever run speaks for each generated item.
-- $top count = 10: how many edges of each generated item count.
-- $as_of time = infinity: answer from what the ledger knew then.
WITH counted AS (
    SELECT e.generated_id, t.rights_holder, t.training_id, e.run_id, e.score::DOUBLE AS score
    FROM edges e JOIN runs r USING (run_id) JOIN training_items t USING (training_id)
    LEFT JOIN speaking_as_of($as_of) s ON s.run_id = e.run_id AND s.generated_id = e.generated_id
    WHERE e.rank <= $top AND e.score > 0
        AND CASE WHEN $run = '' THEN s.run_id IS NOT NULL ELSE starts_with(r.sha256, $run) END
), divided AS (
    SELECT *, score / sum(score) OVER (PARTITION BY run_id, generated_id) AS share FROM counted
)
SELECT
    rights_holder,
    sum(share) / (SELECT count(DISTINCT (run_id, generated_id)) FROM divided) AS share,
    count(DISTINCT generated_id) AS generated_items,
    count(DISTINCT training_id) AS training_items,
    count(DISTINCT run_id) AS runs
FROM divided
GROUP BY rights_holder
ORDER BY share DESC, rights_holder;
