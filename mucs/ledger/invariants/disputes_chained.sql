-- Every step of a dispute is the one that its entry commits to.
WITH said AS (
    SELECT position, (entry::JSON)->'body' AS body, ((entry::JSON)->>'at')::TIMESTAMPTZ AS at FROM entries WHERE kind = 'dispute'
)
SELECT position, d.dispute, d.state
FROM dispute_steps d FULL JOIN said e USING (position)
WHERE d.dispute IS NULL OR e.body IS NULL
    OR d.dispute IS DISTINCT FROM coalesce((e.body->>'dispute')::BIGINT, position)
    OR (e.body->>'statement') IS DISTINCT FROM d.statement
    OR (e.body->>'rights_holder') IS DISTINCT FROM d.rights_holder
    OR (e.body->>'state') IS DISTINCT FROM d.state
    OR (e.body->>'reason') IS DISTINCT FROM d.reason
    OR (e.body->>'amount') IS DISTINCT FROM d.amount::VARCHAR
    OR e.at IS DISTINCT FROM d.recorded_at
