-- An edge lies between a generated item that its run attributed and a training item of the run's training set.
SELECT e.run_id, e.generated_id, e.training_id
FROM edges e
ANTI JOIN (
    SELECT run_id, generated_id, training_set_id FROM attributions JOIN runs USING (run_id) JOIN generated_items USING (generated_id)
) a USING (run_id, generated_id)
UNION ALL
SELECT e.run_id, e.generated_id, e.training_id
FROM edges e
ANTI JOIN (
    SELECT run_id, training_id FROM runs JOIN members USING (training_set_id) JOIN training_items USING (training_id)
) m USING (run_id, training_id)
