-- Which edge lies between these two items? In the run that speaks for the generated one, with both manifest rows.
-- $generated generated: its id, or the start of its SHA-256.
-- $training training: its id, or the start of its SHA-256.
-- $as_of time = infinity: answer from what the ledger knew then.
SELECT
    e.run_id, r.sha256 AS run, g.row_sha256 AS generated_row_sha256, t.row_sha256 AS training_row_sha256,
    e.rank, e.score::DOUBLE AS score, e.standard_error::DOUBLE AS standard_error, e.p_value::DOUBLE AS p_value,
    e.decoy_p_value::DOUBLE AS decoy_p_value, e.decoy_z::DOUBLE AS decoy_z, v.verdict,
    g.manifest_row AS generated, t.manifest_row AS training
FROM edges e
JOIN speaking_as_of($as_of) s USING (run_id, generated_id)
JOIN runs r USING (run_id)
JOIN generated_items g USING (generated_id)
JOIN training_items t USING (training_id)
JOIN verdicts v USING (run_id, generated_id)
WHERE is_called(g.id, g.sha256, $generated) AND is_called(t.id, t.sha256, $training)
ORDER BY ALL;
