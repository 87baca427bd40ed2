-- The rows of lines and of works are those of the statements' contents.
WITH said AS MATERIALIZED (
    SELECT * FROM said_lines
), line AS (
    SELECT * EXCLUDE (works, deductions) FROM said
), work AS (
    SELECT position, line, work.sha256, work.id, work.share FROM (SELECT position, line, unnest(works) AS work FROM said)
)
SELECT 'line' AS what, position, line FROM ((FROM lines EXCEPT ALL FROM line) UNION ALL (FROM line EXCEPT ALL FROM lines))
UNION ALL
SELECT 'work', position, line FROM ((FROM works EXCEPT ALL FROM work) UNION ALL (FROM work EXCEPT ALL FROM works))
