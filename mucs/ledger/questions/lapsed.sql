-- Which generated items rest on images whose licence had lapsed, was opted out, or forbids the use on that day?
-- $day day = today: the day to look at.
-- $use use = output: the use that must be granted, training or output.
-- $top count = 10: how many edges of each generated item count.
-- $as_of time = infinity: answer from what the ledger knew then.
SELECT
    g.id AS generated, e.rank, t.id AS training, h.rights_holder, h.licence,
    CASE WHEN h.standing = 'granted' THEN 'not for ' || $use ELSE h.standing END AS standing,
    h.valid_from, h.valid_to, e.score::DOUBLE AS score, left(r.sha256, 16) AS run
FROM edges e
JOIN speaking_as_of($as_of) s USING (run_id, generated_id)
JOIN runs r USING (run_id)
JOIN training_items t USING (training_id)
JOIN rights_on($day, $as_of) h ON h.sha256 = t.sha256
JOIN generated_items g USING (generated_id)
WHERE e.rank <= $top AND e.score > 0
    AND (h.standing <> 'granted' OR (h.uses IS NOT NULL AND NOT list_contains(h.uses, $use)))
ORDER BY generated, rank;
