-- Standard errors and spreads are not negative, p-values above 0 and at most 1, and decoys those of the run's calibration.
SELECT run_id, generated_id, training_id, standard_error, seed_spread, p_value, e.decoys, decoys_above
FROM edges e JOIN (SELECT run_id, (record->'calibration'->>'decoys')::INTEGER AS decoys FROM runs) r USING (run_id)
WHERE NOT (
    coalesce(standard_error >= 0, true)
    AND coalesce(seed_spread >= 0, true)
    AND coalesce(p_value > 0 AND p_value <= 1, true)
    AND e.decoys IS NOT DISTINCT FROM r.decoys
    AND coalesce(decoys_above BETWEEN 0 AND e.decoys, decoys_above IS NULL)
)
