-- The versions of a contract's statement of a period are 1, 2 and so on, and each supersedes the one before.
SELECT contract, period_start, version, sha256, supersedes
FROM statements
WINDOW months AS (PARTITION BY contract, period_start ORDER BY position)
QUALIFY version <> row_number() OVER months OR supersedes IS DISTINCT FROM lag(sha256) OVER months
