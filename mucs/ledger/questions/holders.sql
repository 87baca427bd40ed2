-- Which rights holders are most exposed, since when, and how sure is that? For each who holds rights today: works, generated items that
-- rest on them, in how many of those something stands out from chance, and the share of all that was attributed.
-- $top count = 10: how many edges of each generated item count.
-- $as_of time = infinity: answer from what the ledger knew then.
WITH held AS MATERIALIZED (
    SELECT t.training_id, t.sha256, h.rights_holder, h.standing
    FROM training_items t JOIN rights_on(current_date, $as_of) h ON h.sha256 = t.sha256
    WHERE t.recorded_at <= $as_of::TIMESTAMPTZ
), counted AS (
    SELECT e.run_id, e.generated_id, e.training_id, e.score::DOUBLE / sum(e.score::DOUBLE) OVER (PARTITION BY e.run_id, e.generated_id) AS share
    FROM edges e JOIN speaking_as_of($as_of) s USING (run_id, generated_id)
    WHERE e.rank <= $top AND e.score > 0
), exposed AS (
    SELECT
        h.rights_holder, sum(c.share) / (SELECT count(DISTINCT generated_id) FROM counted) AS share,
        count(DISTINCT c.generated_id) AS generated_items,
        count(DISTINCT c.generated_id) FILTER (WHERE v.verdict = 'above chance') AS above_chance,
        min(g.recorded_at) AS since, count(DISTINCT c.run_id) AS runs
    FROM counted c JOIN held h USING (training_id) JOIN generated_items g USING (generated_id) JOIN verdicts v USING (run_id, generated_id)
    GROUP BY h.rights_holder
)
SELECT
    h.rights_holder, count(DISTINCT h.sha256) AS works,
    count(DISTINCT h.sha256) FILTER (WHERE h.standing = 'granted') AS granted,
    coalesce(any_value(e.share), 0) AS share, coalesce(any_value(e.generated_items), 0) AS generated_items,
    coalesce(any_value(e.above_chance), 0) AS above_chance, any_value(e.since) AS since, coalesce(any_value(e.runs), 0) AS runs
FROM held h LEFT JOIN exposed e USING (rights_holder)
GROUP BY h.rights_holder
ORDER BY share DESC, h.rights_holder;
