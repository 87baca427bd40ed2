-- Every item came with a run: it was recorded when the first run that used it was loaded.
WITH came AS (
    SELECT 'training' AS kind, training_id AS item, loaded_at FROM members JOIN runs USING (training_set_id)
    UNION ALL
    SELECT 'generated', generated_id, loaded_at FROM attributions JOIN runs USING (run_id)
), first AS (
    SELECT kind, item, min(loaded_at) AS first_used FROM came GROUP BY ALL
), items AS (
    SELECT 'training' AS kind, training_id AS item, recorded_at FROM training_items
    UNION ALL
    SELECT 'generated', generated_id, recorded_at FROM generated_items
)
SELECT kind, item, recorded_at, first_used
FROM items FULL JOIN first USING (kind, item)
WHERE recorded_at IS DISTINCT FROM first_used
