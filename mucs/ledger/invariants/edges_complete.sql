-- Within a run, the edges of a generated item have the ranks 1 to n without gaps.
SELECT run_id, generated_id, rank
FROM edges
QUALIFY rank <> row_number() OVER (PARTITION BY run_id, generated_id ORDER BY rank)
