-- Who changed something through the explorer, or took something out of it, and when? Commands are not among these. A change is the entry
-- at position; of what was taken out, address says what was asked for, answered_from from which position of the log, and sha256 what.
-- $as_of time = infinity: answer from what the ledger knew then.
SELECT recorded_at, who, role, what, address, as_of, answered_from, sha256, position
FROM accesses
WHERE recorded_at <= $as_of::TIMESTAMPTZ
ORDER BY position DESC;
