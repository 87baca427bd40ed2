-- Which works are this rights holder's today, how do they stand, and behind how much are they? Generated items are those among whose
-- best edges a work has a positive score.
-- $rights_holder holder: whoever holds the rights today.
-- $top count = 10: how many edges of each generated item count.
-- $as_of time = infinity: answer from what the ledger knew then.
WITH mine AS MATERIALIZED (
    SELECT t.training_id, t.id, t.sha256, h.licence, h.standing, h.uses, h.valid_from, h.valid_to
    FROM training_items t JOIN rights_on(current_date, $as_of) h ON h.sha256 = t.sha256
    WHERE h.rights_holder = $rights_holder AND t.recorded_at <= $as_of::TIMESTAMPTZ
), behind AS (
    SELECT m.sha256, count(DISTINCT e.generated_id) AS generated_items, min(e.rank) AS best_rank, count(DISTINCT e.run_id) AS runs
    FROM edges e JOIN mine m USING (training_id) JOIN speaking_as_of($as_of) s USING (run_id, generated_id)
    WHERE e.rank <= $top AND e.score > 0
    GROUP BY m.sha256
)
SELECT
    min(m.id) AS training, any_value(m.licence) AS licence, any_value(m.standing) AS standing,
    array_to_string(any_value(m.uses), ' ') AS uses, any_value(m.valid_from) AS valid_from, any_value(m.valid_to) AS valid_to,
    coalesce(any_value(b.generated_items), 0) AS generated_items, any_value(b.best_rank) AS best_rank,
    coalesce(any_value(b.runs), 0) AS runs, m.sha256 AS training_sha256
FROM mine m LEFT JOIN behind b USING (sha256)
GROUP BY m.sha256
ORDER BY generated_items DESC, training;
