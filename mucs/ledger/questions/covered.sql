-- Which generated items were attributed, and by which run, for this checkpoint, training set, held-out set and settings? Runs without
-- the calibration that there is now do not count. What a withdrawn run attributed is to be attributed again.
-- $checkpoint text: SHA-256 of the checkpoint.
-- $training_set text: SHA-256 of the training set.
-- $held_out text = : SHA-256 of the held-out set; empty if there was none.
-- $calibration text = : SHA-256 of the calibration; empty for any.
-- $settings text: SHA-256 of the settings.
-- $items text = : SHA-256 of the rows that are asked for, with spaces between; empty for all.
-- $as_of time = infinity: answer from what the ledger knew then.
SELECT DISTINCT
    g.row_sha256, r.sha256 AS run, r.method_sha256,
    EXISTS (SELECT 1 FROM withdrawals w WHERE w.run_id = r.run_id AND w.recorded_at <= $as_of::TIMESTAMPTZ) AS withdrawn
FROM runs r
JOIN artifacts c ON c.artifact_id = r.checkpoint_id
JOIN artifacts t ON t.artifact_id = r.training_set_id
LEFT JOIN artifacts h ON h.artifact_id = r.held_out_id
LEFT JOIN artifacts k ON k.artifact_id = r.calibration_id
JOIN attributions a USING (run_id)
JOIN (
    FROM generated_items WHERE $items = '' OR row_sha256 IN (SELECT unnest(string_split($items, ' ')))
) g USING (generated_id)
WHERE c.sha256 = $checkpoint AND t.sha256 = $training_set AND coalesce(h.sha256, '') = $held_out
    AND $calibration IN ('', k.sha256) AND r.settings_sha256 = $settings AND r.loaded_at <= $as_of::TIMESTAMPTZ;
