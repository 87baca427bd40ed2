-- The lines of a statement sum to each of its pots exactly, and their shares to 1.
WITH pots AS (
    SELECT statement, right_type, (header->'pots'->>right_type)::DECIMAL(18, 4) AS pot
    FROM (
        SELECT sha256 AS statement, (content::JSON)->'header' AS header, unnest(json_keys((content::JSON)->'header'->'pots')) AS right_type
        FROM statements
    )
)
SELECT statement, right_type, sum(l.gross) AS gross, any_value(pot) AS pot, sum(l.share) AS share
FROM pots FULL JOIN statement_lines l USING (statement, right_type)
GROUP BY ALL
HAVING gross IS DISTINCT FROM any_value(pot) OR share IS DISTINCT FROM 1
