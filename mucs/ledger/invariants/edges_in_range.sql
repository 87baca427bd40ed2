-- Standard errors and spreads are not negative, p-values above 0 and at most 1, and those against decoys where the run was calibrated.
SELECT run_id, generated_id, training_id, standard_error, seed_spread, p_value, decoy_p_value
FROM edges e JOIN (SELECT run_id, record->'calibration'->>'decoys' IS NOT NULL AS calibrated FROM runs) r USING (run_id)
WHERE NOT (
    coalesce(standard_error >= 0, true)
    AND coalesce(seed_spread >= 0, true)
    AND coalesce(p_value > 0 AND p_value <= 1, true)
    AND coalesce(decoy_p_value > 0 AND decoy_p_value <= 1, true)
    AND (decoy_p_value IS NOT NULL) = calibrated
)
