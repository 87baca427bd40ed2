-- An attribution belongs to a run and a generated item that are there, and there is one at most of each pair.
SELECT run_id, generated_id, count(*) AS times
FROM attributions a
LEFT JOIN runs r USING (run_id)
LEFT JOIN generated_items g USING (generated_id)
GROUP BY ALL
HAVING count(*) > 1 OR count(r.method) = 0 OR count(g.id) = 0
