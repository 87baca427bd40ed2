-- Within a run, no edge of a generated item has a higher score than one that ranks before it.
SELECT run_id, generated_id, rank, score
FROM edges
QUALIFY score > lag(score) OVER (PARTITION BY run_id, generated_id ORDER BY rank)
