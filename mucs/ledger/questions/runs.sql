-- Which runs are there, on what, and what did they find?
-- $as_of time = infinity: answer from what the ledger knew then.
SELECT
    r.sha256 AS run, r.loaded_at, count(*) AS generated_items, count(*) FILTER (WHERE a.converged) AS converged,
    count(*) FILTER (WHERE v.verdict = 'above chance') AS above_chance, sum(a.survivors)::BIGINT AS edges,
    any_value(c.sha256) AS checkpoint, any_value(t.sha256) AS training_set, any_value(w.reason) AS withdrawn_because
FROM runs r
JOIN attributions a USING (run_id)
JOIN verdicts v USING (run_id, generated_id)
JOIN artifacts c ON c.artifact_id = r.checkpoint_id
JOIN artifacts t ON t.artifact_id = r.training_set_id
LEFT JOIN withdrawals w ON w.run_id = r.run_id AND w.recorded_at <= $as_of::TIMESTAMPTZ
WHERE r.loaded_at <= $as_of::TIMESTAMPTZ
GROUP BY r.run_id, r.sha256, r.loaded_at
ORDER BY r.run_id DESC;
