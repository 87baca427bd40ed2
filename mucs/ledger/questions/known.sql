-- Is this training item in the ledger at all? Its versions.
-- $training: its id, or the first characters of its SHA-256.
SELECT id AS training, rights_holder, licence, date, sha256
FROM training_items
WHERE id = $training OR (length($training) >= 8 AND starts_with(sha256, $training))
ORDER BY training_id;
