-- What is behind this generated item? The training items that the run which speaks for it found, best first; rights holder and
-- licence as their manifest said, and beside them how the image stands today.
-- $generated generated: its id, or the start of its SHA-256.
-- $top count = 10: how many training items.
-- $as_of time = infinity: answer from what the ledger knew then.
SELECT
    generated, rank, training, manifest_row->>'annotation' AS annotation, l.rights_holder, l.licence,
    h.rights_holder AS holder_today, h.licence AS licence_today,
    h.standing || CASE WHEN h.standing = 'granted' THEN coalesce(' for ' || array_to_string(h.uses, ' '), '') ELSE '' END AS standing_today,
    score, standard_error, p_value, decoy_p_value, decoy_z, verdict, run, training_sha256
FROM lineage_as_of($as_of) l
JOIN verdicts USING (run_id, generated_id)
JOIN rights_on(current_date, $as_of) h ON h.sha256 = l.training_sha256
WHERE is_called(generated, generated_sha256, $generated) AND rank <= $top
ORDER BY generated, rank;
