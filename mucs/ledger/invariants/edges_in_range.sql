-- Scores are finite, standard errors and spreads not negative, and p-values above 0 and at most 1.
SELECT run_id, generated_id, training_id, score, standard_error, seed_spread, p_value, decoy_p_value, decoy_z
FROM edges
WHERE NOT (
    isfinite(score)
    AND coalesce(standard_error >= 0 AND isfinite(standard_error), true)
    AND coalesce(seed_spread >= 0 AND isfinite(seed_spread), true)
    AND coalesce(p_value > 0 AND p_value <= 1, true)
    AND coalesce(decoy_p_value > 0 AND decoy_p_value <= 1, true)
    AND coalesce(isfinite(decoy_z), true)
)
