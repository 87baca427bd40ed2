-- How much of what was attributed falls to each rights holder? Over a run's edges of rank 1 to $top with a positive score:
-- each generated item weighs the same, and is divided among its edges in proportion to their scores.
-- $run: the run's SHA-256. $top: how many edges of each generated item count.
WITH counted AS (
    SELECT generated_id, t.rights_holder, t.training_id, e.score::DOUBLE AS score
    FROM edges e JOIN runs r USING (run_id) JOIN training_items t USING (training_id)
    WHERE r.sha256 = $run AND e.rank <= $top AND e.score > 0
), divided AS (
    SELECT *, score / sum(score) OVER (PARTITION BY generated_id) AS share FROM counted
)
SELECT
    rights_holder,
    sum(share) / (SELECT count(DISTINCT generated_id) FROM divided) AS share,
    count(DISTINCT generated_id) AS generated_items,
    count(DISTINCT training_id) AS training_items
FROM divided
GROUP BY rights_holder
ORDER BY share DESC, rights_holder;
