-- A run was loaded at the time of its entry.
SELECT r.run_id, r.loaded_at, e.recorded
FROM runs r
LEFT JOIN (
    SELECT entry->'body'->>'run' AS sha256, (entry->>'at')::TIMESTAMPTZ AS recorded FROM entries WHERE kind = 'run'
) e USING (sha256)
WHERE r.loaded_at IS DISTINCT FROM e.recorded
