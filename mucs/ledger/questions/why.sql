-- What is behind this generated item? The training items that the run which speaks for it found, best first.
-- $generated generated: its id, or the start of its SHA-256.
-- $top count = 10: how many training items.
-- $as_of time = infinity: answer from what the ledger knew then.
SELECT
    generated, rank, training, manifest_row->>'annotation' AS annotation, rights_holder, licence,
    score, standard_error, p_value, decoy_p_value, decoy_z, verdict, run, training_sha256
FROM lineage_as_of($as_of) JOIN verdicts USING (run_id, generated_id)
WHERE is_called(generated, generated_sha256, $generated) AND rank <= $top
ORDER BY generated, rank;
