-- Every usage report is the one that its entry commits to, and every statement's usage report is there.
WITH said AS (
    SELECT position, entry::JSON AS entry FROM entries WHERE kind = 'usage'
)
SELECT position, u.sha256 AS usage_report
FROM usage_reports u FULL JOIN said e USING (position)
WHERE u.sha256 IS NULL OR e.entry IS NULL
    OR (e.entry->'body'->>'usage') IS DISTINCT FROM u.sha256
    OR (e.entry->>'at')::TIMESTAMPTZ IS DISTINCT FROM u.recorded_at
UNION ALL
SELECT s.position, ((s.content::JSON)->'header'->'usage'->>'sha256')
FROM statements s
WHERE ((s.content::JSON)->'header'->'usage'->>'sha256') NOT IN (SELECT sha256 FROM usage_reports)
