-- Which edge lies between these two items? In the run that speaks for the generated one, with both manifest rows.
-- $generated text: its id, or the start of its SHA-256.
-- $training text: its id, or the start of its SHA-256.
-- $as_of time = infinity: answer from what the ledger knew then.
SELECT
    e.run_id, r.sha256 AS run, g.row_sha256 AS generated_row_sha256, t.row_sha256 AS training_row_sha256,
    g.manifest_row AS generated, t.manifest_row AS training
FROM edges e
JOIN speaking_as_of($as_of) s USING (run_id, generated_id)
JOIN runs r USING (run_id)
JOIN generated_items g USING (generated_id)
JOIN training_items t USING (training_id)
WHERE is_called(g.id, g.sha256, $generated) AND is_called(t.id, t.sha256, $training)
ORDER BY ALL;
