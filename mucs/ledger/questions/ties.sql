-- Which generated items are tied to a training item more closely than an image that the model never made would be to any? Each with the
-- training item that it stands out by, the likeliest to have been memorised or copied; the question is asked of each generated item
-- alone, so of many that copy nothing, $most of them will still be here.
-- $most probability = 0.05: the largest p-value, of its largest decoy_z against the largest of decoys.
-- $as_of time = infinity: answer from what the ledger knew then.
SELECT
    g.id AS generated, a.tie_p_value, t.id AS training, t.rights_holder, e.decoy_z::DOUBLE AS decoy_z, e.score::DOUBLE AS score, e.rank, a.converged,
    r.sha256 AS run, g.sha256 AS generated_sha256, t.sha256 AS training_sha256
FROM speaking_as_of($as_of) s
JOIN attributions a USING (run_id, generated_id)
JOIN edges e USING (run_id, generated_id)
JOIN runs r USING (run_id)
JOIN generated_items g USING (generated_id)
JOIN training_items t USING (training_id)
WHERE a.tie_p_value <= $most
QUALIFY row_number() OVER (PARTITION BY s.run_id, s.generated_id ORDER BY e.decoy_z DESC, e.rank) = 1
ORDER BY a.tie_p_value, decoy_z DESC, generated;
