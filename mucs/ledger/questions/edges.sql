-- What did this run find? Its best edges, generated item by generated item.
-- $run run: the start of the run's SHA-256.
-- $top count = 10: how many edges of each generated item.
-- $as_of time = infinity: answer from what the ledger knew then.
SELECT
    g.id AS generated, g.sha256 AS generated_sha256, g.row_sha256 AS generated_row_sha256, e.rank, t.id AS training, t.sha256 AS training_sha256,
    t.rights_holder, t.licence, e.score::DOUBLE AS score, e.standard_error::DOUBLE AS standard_error, e.seed_spread::DOUBLE AS seed_spread,
    e.p_value::DOUBLE AS p_value, e.decoy_p_value::DOUBLE AS decoy_p_value, e.decoy_z::DOUBLE AS decoy_z, v.verdict
FROM edges e
JOIN runs r USING (run_id)
JOIN generated_items g USING (generated_id)
JOIN training_items t USING (training_id)
JOIN verdicts v USING (run_id, generated_id)
WHERE starts_with(r.sha256, $run) AND e.rank <= $top AND r.loaded_at <= $as_of::TIMESTAMPTZ
ORDER BY generated_id, e.rank;
