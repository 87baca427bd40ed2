-- A training set's members are training items that are there, each once, and the set is one that a run used.
SELECT training_set_id, training_id, count(*) AS times
FROM members m
LEFT JOIN training_items t USING (training_id)
LEFT JOIN (SELECT DISTINCT training_set_id, true AS used FROM runs) r USING (training_set_id)
GROUP BY ALL
HAVING count(*) > 1 OR count(t.id) = 0 OR count(r.used) = 0
