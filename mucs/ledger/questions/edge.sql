-- Which edge lies between these two items? In the run that speaks for the generated one, with both manifest rows.
-- $generated, $training: their ids, or the first characters of their SHA-256.
SELECT
    e.run_id, r.sha256 AS run, g.row_sha256 AS generated_row_sha256, t.row_sha256 AS training_row_sha256,
    g.manifest_row AS generated, t.manifest_row AS training
FROM edges e
JOIN speaking s USING (run_id, generated_id)
JOIN runs r USING (run_id)
JOIN generated_items g USING (generated_id)
JOIN training_items t USING (training_id)
WHERE (g.id = $generated OR (length($generated) >= 8 AND starts_with(g.sha256, $generated)))
    AND (t.id = $training OR (length($training) >= 8 AND starts_with(t.sha256, $training)))
ORDER BY ALL;
