-- Is this training item in the ledger at all? Its versions, and how its image stands today.
-- $training training: its id, or the start of its SHA-256.
-- $as_of time = infinity: answer from what the ledger knew then.
SELECT t.id AS training, t.rights_holder, t.licence, t.date, r.rights_holder AS holder_today, r.standing, t.recorded_at, t.sha256
FROM training_items t JOIN rights_on(current_date, $as_of) r ON r.sha256 = t.sha256
WHERE is_called(t.id, t.sha256, $training) AND t.recorded_at <= $as_of::TIMESTAMPTZ
ORDER BY training_id;
