-- Within a run, there is one edge at most between a generated and a training item.
SELECT run_id, generated_id, training_id
FROM edges
GROUP BY ALL
HAVING count(*) > 1
