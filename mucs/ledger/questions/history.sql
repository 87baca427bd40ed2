-- What was said of the rights in this training item, and when was it recorded? Its manifests' word, and each row of rights; position is
-- that of the chain's entry.
-- $training training: its id, or the start of its SHA-256.
-- $as_of time = infinity: answer from what the ledger knew then.
WITH images AS (
    SELECT DISTINCT sha256 FROM training_items WHERE is_called(id, sha256, $training) AND recorded_at <= $as_of::TIMESTAMPTZ
)
SELECT 'manifest' AS event, rights_holder, licence, 'granted' AS standing, NULL AS uses, NULL AS cap, date AS valid_from, NULL AS valid_to, NULL AS source, recorded_at, NULL AS position, sha256
FROM training_items WHERE sha256 IN (FROM images) AND recorded_at <= $as_of::TIMESTAMPTZ
UNION ALL
SELECT 'right', rights_holder, licence, standing, array_to_string(uses, ' '), cap, valid_from, valid_to, source, recorded_at, position, sha256
FROM rights WHERE sha256 IN (FROM images) AND recorded_at <= $as_of::TIMESTAMPTZ
ORDER BY recorded_at, position NULLS FIRST, valid_from, rights_holder;
