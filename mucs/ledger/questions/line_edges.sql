-- Which edges does this line of a statement rest on? Those of its works that the contract counted, by the runs and the rights that the
-- statement was made from; none for a line that is not divided by attribution.
-- $statement text: the start of its SHA-256, eight digits or more.
-- $line count: the line's number.
-- $as_of time = infinity: answer from what the ledger knew then.
WITH said AS MATERIALIZED (
    SELECT
        position, sha256, header->>'as_of' AS known, from_json(header->'runs', '["VARCHAR"]') AS runs, header->'usage'->>'sha256' AS usage_report,
        (header->'contract'->'evidence'->>'top')::INTEGER AS top, (header->'contract'->'evidence'->>'converged')::BOOLEAN AS converged,
        (header->'contract'->'evidence'->>'p_value')::DECIMAL(18, 6) AS p_value,
        (header->'contract'->'evidence'->>'decoy_p_value')::DECIMAL(18, 6) AS decoy_p_value,
        (header->'contract'->'evidence'->>'decoy_z')::DECIMAL(18, 3) AS decoy_z,
        (header->'contract'->'evidence'->>'tie_p_value')::DOUBLE AS tie_p_value
    FROM (SELECT position, sha256, content::JSON->'header' AS header FROM statements
        WHERE length($statement) >= 8 AND starts_with(sha256, $statement) AND issued_at <= $as_of::TIMESTAMPTZ)
), used AS (
    SELECT DISTINCT generated FROM usage JOIN said USING (usage_report)
), counting AS (
    SELECT g.generated_id, g.sha256, g.id, s.run_id
    FROM generated_items g JOIN speaking_as_of((SELECT any_value(known) FROM said)) s USING (generated_id)
    WHERE g.id IN (FROM used) OR g.sha256 IN (FROM used)
    QUALIFY row_number() OVER (PARTITION BY g.sha256 ORDER BY s.run_id DESC, g.generated_id DESC) = 1
), doubles AS (
    SELECT coalesce(max(copies), 0) AS copies FROM (
        SELECT count(*) - count(DISTINCT t.sha256) AS copies
        FROM members m JOIN training_items t USING (training_id) JOIN runs r USING (training_set_id)
        WHERE r.run_id IN (SELECT run_id FROM counting) GROUP BY r.run_id)
), counted AS (
    SELECT
        c.id AS generated, c.sha256 AS generated_sha256, t.id AS training, t.sha256 AS training_sha256, e.rank, e.score, e.standard_error,
        e.p_value, e.decoy_p_value, e.decoy_z, r.sha256 AS run
    FROM said, doubles, edges e
    JOIN counting c USING (run_id, generated_id)
    JOIN attributions a USING (run_id, generated_id)
    JOIN runs r USING (run_id)
    JOIN training_items t USING (training_id)
    WHERE list_contains(said.runs, r.sha256) AND e.rank <= said.top + doubles.copies AND e.score > 0
        AND (said.p_value IS NULL OR e.p_value <= said.p_value)
        AND (said.decoy_p_value IS NULL OR e.decoy_p_value <= said.decoy_p_value)
        AND (said.decoy_z IS NULL OR e.decoy_z >= said.decoy_z)
        AND (said.tie_p_value IS NULL OR a.tie_p_value <= said.tie_p_value)
        AND (a.converged OR NOT said.converged)
    QUALIFY row_number() OVER (PARTITION BY c.sha256, t.sha256 ORDER BY e.score DESC, e.rank) = 1
), best AS (
    SELECT * FROM counted QUALIFY row_number() OVER (PARTITION BY generated_sha256 ORDER BY score DESC, training_sha256) <= (SELECT top FROM said)
)
SELECT
    generated, rank, training, score::DOUBLE AS score, standard_error::DOUBLE AS standard_error, p_value::DOUBLE AS p_value,
    decoy_p_value::DOUBLE AS decoy_p_value, decoy_z::DOUBLE AS decoy_z, run, generated_sha256, training_sha256
FROM best
WHERE training_sha256 IN (
    SELECT w.sha256 FROM works w JOIN lines l USING (position, line) JOIN said USING (position)
    WHERE w.line = $line AND l.basis = 'attribution')
ORDER BY generated, rank;
