-- What is this training item behind? The generated items in whose ranking it stands, highest standing first; rights holder and
-- licence as its manifest said, and beside them how the image stands today.
-- $training training: its id, or the start of its SHA-256.
-- $top count = 20: how many generated items.
-- $as_of time = infinity: answer from what the ledger knew then.
SELECT
    training, l.rights_holder, l.licence, h.rights_holder AS holder_today, h.licence AS licence_today,
    h.standing || CASE WHEN h.standing = 'granted' THEN coalesce(' for ' || array_to_string(h.uses, ' '), '') ELSE '' END AS standing_today,
    generated, rank, score, standard_error, p_value, decoy_p_value, decoy_z, converged, run, generated_sha256
FROM lineage_as_of($as_of) l JOIN rights_on(current_date, $as_of) h ON h.sha256 = l.training_sha256
WHERE is_called(training, training_sha256, $training)
ORDER BY rank, score DESC, generated
LIMIT $top;
