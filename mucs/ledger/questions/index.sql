-- Which index answers for this checkpoint, training set, settings and method: the last one that was fitted.
-- $checkpoint text: SHA-256 of the checkpoint.
-- $training_set text: SHA-256 of the training set.
-- $settings text: SHA-256 of the settings.
-- $method text = : SHA-256 of the method's source; empty for any.
-- $as_of time = infinity: answer from what the ledger knew then.
SELECT sha256, pictures, spearman, position, recorded_at FROM indexes
WHERE checkpoint = $checkpoint AND training_set = $training_set AND settings_sha256 = $settings AND $method IN ('', method_sha256)
    AND recorded_at <= $as_of::TIMESTAMPTZ
ORDER BY position DESC
LIMIT 1;
