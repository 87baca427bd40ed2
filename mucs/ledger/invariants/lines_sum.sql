-- The lines of a statement sum to each of its pots exactly, and their shares to 1.
WITH pots AS (
    SELECT position, unnest(map_entries(from_json(content::JSON->'header'->'pots', '"MAP(VARCHAR, DECIMAL(18, 4))"')), recursive := true)
    FROM statements
)
SELECT position, right_type, sum(l.gross) AS gross, any_value(value) AS pot, sum(l.share) AS share
FROM (SELECT position, key AS right_type, value FROM pots) FULL JOIN said_lines l USING (position, right_type)
GROUP BY ALL
HAVING gross IS DISTINCT FROM any_value(value) OR share IS DISTINCT FROM 1
