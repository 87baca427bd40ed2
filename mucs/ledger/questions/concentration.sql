-- How concentrated is what is behind each generated item? Over the positive scores among its best edges: the share of the first,
-- of the first ten, and the number of equal edges that would be as concentrated (one over the sum of squared shares).
-- $top count = 100: how many edges of each generated item count.
-- $as_of time = infinity: answer from what the ledger knew then.
WITH divided AS (
    SELECT run_id, generated_id, rank, score / sum(score) OVER (PARTITION BY generated_id) AS share
    FROM (
        SELECT e.run_id, generated_id, rank, score::DOUBLE AS score
        FROM edges e JOIN speaking_as_of($as_of) s USING (run_id, generated_id)
        WHERE rank <= $top AND score > 0)
)
SELECT
    g.id AS generated,
    count(*) AS edges,
    max(share) AS first,
    sum(share) FILTER (WHERE rank <= 10) AS first_ten,
    1 / sum(share * share) AS effective_edges,
    left(r.sha256, 16) AS run
FROM divided JOIN generated_items g USING (generated_id) JOIN runs r USING (run_id)
GROUP BY g.id, r.sha256
ORDER BY effective_edges, generated;
