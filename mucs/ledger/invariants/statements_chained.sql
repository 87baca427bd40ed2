-- Every statement is the one that its entry commits to, and its columns say what its content says.
WITH said AS (
    SELECT position, entry::JSON AS entry FROM entries WHERE kind = 'statement'
), stated AS (
    SELECT *, (content::JSON)->'header' AS header FROM statements
)
SELECT position, s.sha256 AS statement, (e.entry->'body'->>'statement') AS title
FROM stated s FULL JOIN said e USING (position)
WHERE s.sha256 IS NULL OR e.entry IS NULL
    OR (e.entry->'body'->>'sha256') IS DISTINCT FROM s.sha256
    OR (e.entry->>'at')::TIMESTAMPTZ IS DISTINCT FROM s.issued_at
    OR (s.header->>'statement') IS DISTINCT FROM s.contract || '/' || strftime(s.period_start, '%Y-%m') || '/' || s.version
    OR (s.header->'period'->>'start') IS DISTINCT FROM s.period_start || 'T00:00:00Z'
    OR (s.header->'period'->>'end') IS DISTINCT FROM s.period_end || 'T00:00:00Z'
    OR (s.header->>'supersedes') IS DISTINCT FROM s.supersedes
    OR (s.header->>'currency') IS DISTINCT FROM s.currency
