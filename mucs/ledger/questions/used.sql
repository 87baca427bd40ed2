-- What is this training item behind? The generated items in whose ranking it stands, highest standing first.
-- $training: its id, or the first characters of its SHA-256. $top: how many.
SELECT
    training, rights_holder, licence, generated, rank, score, standard_error, p_value, decoy_p_value, decoy_z,
    converged, run, generated_sha256
FROM lineage
WHERE training = $training OR (length($training) >= 8 AND starts_with(training_sha256, $training))
ORDER BY rank, score DESC, generated
LIMIT $top;
