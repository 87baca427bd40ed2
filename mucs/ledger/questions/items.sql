-- Which generated items were attributed, and what came of it? The verdict of each, and the training item that stands first behind it.
-- $run run = : the start of a run's SHA-256; empty for whatever run speaks for each generated item.
-- $as_of time = infinity: answer from what the ledger knew then.
SELECT
    g.id AS generated, v.verdict, t.id AS training, t.rights_holder, e.score::DOUBLE AS score, a.tie_p_value, a.converged, a.steps,
    r.sha256 AS run, g.recorded_at, g.sha256 AS generated_sha256, t.sha256 AS training_sha256
FROM attributions a
JOIN runs r USING (run_id)
JOIN generated_items g USING (generated_id)
JOIN verdicts v USING (run_id, generated_id)
LEFT JOIN speaking_as_of($as_of) s ON s.run_id = a.run_id AND s.generated_id = a.generated_id
LEFT JOIN edges e ON e.run_id = a.run_id AND e.generated_id = a.generated_id AND e.rank = 1
LEFT JOIN training_items t ON t.training_id = e.training_id
WHERE r.loaded_at <= $as_of::TIMESTAMPTZ AND CASE WHEN $run = '' THEN s.run_id IS NOT NULL ELSE starts_with(r.sha256, $run) END
ORDER BY generated, generated_sha256;
