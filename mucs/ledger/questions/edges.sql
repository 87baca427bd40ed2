-- What did this run find? Its edges of rank 1 to $top, generated item by generated item.
-- $run: the run's SHA-256. $top: how many edges of each generated item.
SELECT
    g.id AS generated, g.sha256 AS generated_sha256, e.rank, t.id AS training, t.sha256 AS training_sha256,
    t.rights_holder, t.licence, e.score, e.standard_error, e.seed_spread, e.p_value, e.decoy_p_value, e.decoy_z
FROM edges e
JOIN runs r USING (run_id)
JOIN generated_items g USING (generated_id)
JOIN training_items t USING (training_id)
WHERE r.sha256 = $run AND e.rank <= $top
ORDER BY generated_id, e.rank;
