-- What is this training item behind? The generated items in whose ranking it stands, highest standing first.
-- $training training: its id, or the start of its SHA-256.
-- $top count = 20: how many generated items.
-- $as_of time = infinity: answer from what the ledger knew then.
SELECT
    training, rights_holder, licence, generated, rank, score, standard_error, p_value, decoy_p_value, decoy_z,
    converged, run, generated_sha256
FROM lineage_as_of($as_of)
WHERE is_called(training, training_sha256, $training)
ORDER BY rank, score DESC, generated
LIMIT $top;
