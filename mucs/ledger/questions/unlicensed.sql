-- Which training items have no valid licence for this use on that day? How each image stands, since when, and how many generated
-- items rest on it: those among whose best edges it has a positive score.
-- $day day = today: the day to look at.
-- $use use = output: the use that must be granted, training or output.
-- $top count = 10: how many edges of each generated item count.
-- $as_of time = infinity: answer from what the ledger knew then.
WITH behind AS (
    SELECT t.sha256, count(DISTINCT e.generated_id) AS generated_items, count(DISTINCT e.run_id) AS runs
    FROM edges e JOIN speaking_as_of($as_of) s USING (run_id, generated_id) JOIN training_items t USING (training_id)
    WHERE e.rank <= $top AND e.score > 0
    GROUP BY t.sha256
), ended AS (
    SELECT sha256, max(valid_to) AS day FROM rights
    WHERE valid_to <= $day::DATE AND recorded_at <= $as_of::TIMESTAMPTZ
    GROUP BY sha256
)
SELECT
    (SELECT min(t.id) FROM training_items t WHERE t.sha256 = h.sha256 AND t.recorded_at <= $as_of::TIMESTAMPTZ) AS training,
    h.rights_holder, h.licence,
    CASE WHEN h.standing = 'granted' THEN 'not for ' || $use ELSE h.standing END AS standing,
    CASE h.standing WHEN 'lapsed' THEN e.day WHEN 'not yet' THEN NULL ELSE h.valid_from END AS since,
    coalesce(b.generated_items, 0) AS generated_items, coalesce(b.runs, 0) AS runs, h.sha256
FROM rights_on($day, $as_of) h LEFT JOIN behind b USING (sha256) LEFT JOIN ended e USING (sha256)
WHERE training IS NOT NULL
    AND (h.standing <> 'granted' OR (h.uses IS NOT NULL AND NOT list_contains(h.uses, $use)))
ORDER BY generated_items DESC, training;
