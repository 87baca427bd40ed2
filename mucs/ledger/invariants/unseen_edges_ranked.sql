-- Unseen edges are of items that were attributed beside as many held-out items, with ranks from 1, scores that fall, and p-values in (0, 1].
SELECT run_id, generated_id, u.rank, u.score, u.p_value, u.decoy_p_value, a.held_out
FROM unseen_edges u LEFT JOIN attributions a USING (run_id, generated_id)
WINDOW item AS (PARTITION BY run_id, generated_id ORDER BY u.rank)
QUALIFY row_number() OVER item <> u.rank OR u.score > lag(u.score) OVER item OR u.rank > coalesce(a.held_out, 0)
    OR u.p_value <= 0 OR u.p_value > 1 OR u.decoy_p_value <= 0 OR u.decoy_p_value > 1
