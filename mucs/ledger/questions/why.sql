-- What is behind this generated item? The training items that the run which speaks for it found, best first.
-- $generated: its id, or the first characters of its SHA-256. $top: how many.
SELECT
    generated, rank, training, manifest_row->>'annotation' AS annotation, rights_holder, licence,
    score, standard_error, p_value, decoy_p_value, decoy_z, converged, run, training_sha256
FROM lineage
WHERE (generated = $generated OR (length($generated) >= 8 AND starts_with(generated_sha256, $generated))) AND rank <= $top
ORDER BY generated, rank;
