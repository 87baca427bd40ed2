-- Which training items are behind many generated items? Those among the best edges of the most.
-- $best count = 10: how many edges of each generated item count.
-- $top count = 20: how many training items.
-- $as_of time = infinity: answer from what the ledger knew then.
WITH counted AS (
    SELECT e.training_id, e.generated_id, e.run_id
    FROM edges e JOIN speaking_as_of($as_of) s USING (run_id, generated_id)
    WHERE e.rank <= $best AND e.score > 0
), total AS (SELECT count(DISTINCT generated_id) AS items FROM counted)
SELECT
    t.id AS training, t.rights_holder, count(*) AS generated_items, count(*) / any_value(items) AS of_all,
    count(DISTINCT run_id) AS runs, arg_max(left(r.sha256, 16), run_id) AS latest_run
FROM counted JOIN training_items t USING (training_id) JOIN runs r USING (run_id), total
GROUP BY training_id, t.id, t.rights_holder
ORDER BY generated_items DESC, training
LIMIT $top;
