-- What is asked of the tables: views and macros. The program makes them anew wherever it opens a ledger, and never takes those of the
-- file; the file holds them for whoever opens it with another program.

-- Usage, row by row.
CREATE VIEW usage AS
SELECT
    u.sha256 AS usage_report, row->>'generated' AS generated, (row->>'date')::DATE AS date, (row->>'units')::DECIMAL(28, 9) AS units,
    (row->>'revenue')::DECIMAL(28, 9) AS revenue, row->>'territory' AS territory
FROM (SELECT sha256, unnest(content::JSON::JSON[]) AS row FROM usage_reports) u;

-- A statement's lines as its content has them; works and deductions are lists within.
CREATE VIEW said_lines AS
SELECT
    position, line, said.right_type, said.holder AS rights_holder, said.basis, said.items AS generated_items, said.units, said.score_mass,
    said.score_error, said.share, pots[said.right_type] AS pot, said.gross, said.deducted, said.net, said.works, said.deductions
FROM (
    SELECT position, said.header.pots AS pots, unnest(said.lines) AS said, generate_subscripts(said.lines, 1) AS line
    FROM (
        SELECT position, from_json(content::JSON, '{
            "header": {"pots": "MAP(VARCHAR, DECIMAL(18, 4))"},
            "lines": [{
                "right_type": "VARCHAR", "holder": "VARCHAR", "basis": "VARCHAR", "items": "INTEGER", "units": "DECIMAL(28, 9)",
                "score_mass": "DECIMAL(38, 17)", "score_error": "DECIMAL(38, 17)", "share": "DECIMAL(18, 12)", "gross": "DECIMAL(18, 4)",
                "deducted": "DECIMAL(18, 4)", "net": "DECIMAL(18, 4)", "deductions": "MAP(VARCHAR, DECIMAL(18, 4))",
                "works": [{"sha256": "VARCHAR", "id": "VARCHAR", "share": "DECIMAL(18, 12)"}]
            }]
        }') AS said
        FROM statements
    )
);

CREATE VIEW said_works AS
SELECT position, line, work.sha256, work.id, work.share FROM (SELECT position, line, unnest(works) AS work FROM said_lines);

-- What each statement gives a holder of a pot, and why. current: whether no later version supersedes it.
CREATE VIEW statement_lines AS
SELECT s.sha256 AS statement, s.contract, s.period_start, s.version, s.current, s.currency, l.* EXCLUDE (position)
FROM lines l JOIN (
    SELECT position, sha256, contract, period_start, version, currency, version = max(version) OVER (PARTITION BY contract, period_start) AS current
    FROM statements
) s USING (position);

-- The same for each work of a line, with what it brings of the line's gross; not rounded, as lines are. A product has all decimals of
-- its factors, here 16, and no more digits than the wider of them: so one is wide, and what is left is 22 digits before the point.
CREATE VIEW statement_works AS
SELECT
    l.statement, l.contract, l.period_start, l.version, l.current, l.currency, l.line, l.right_type, l.rights_holder, l.basis,
    w.sha256, w.id, w.share, w.share::DECIMAL(20, 12) * l.pot AS gross
FROM works w JOIN statements s USING (position) JOIN statement_lines l ON l.statement = s.sha256 AND l.line = w.line;

-- Each holder's account with a contract, statement by statement in the order of issue; wide, as what is carried adds up.
CREATE VIEW balances AS
SELECT
    sha256 AS statement, position, contract, period_start, version, balance->>'holder' AS rights_holder,
    (balance->>'carried_in')::DECIMAL(28, 4) AS carried_in, (balance->>'net')::DECIMAL(28, 4) AS net,
    (balance->>'difference')::DECIMAL(28, 4) AS difference,  -- to the net of the version that the statement supersedes
    (balance->>'adjustments')::DECIMAL(28, 4) AS adjustments, (balance->>'paid')::DECIMAL(28, 4) AS paid,
    (balance->>'carried_out')::DECIMAL(28, 4) AS carried_out
FROM (SELECT *, unnest((content::JSON->'balances')::JSON[]) AS balance FROM statements);

-- What statements add for disputes that were upheld.
CREATE VIEW adjustments AS
SELECT
    sha256 AS statement, contract, (adjustment->>'dispute')::BIGINT AS dispute, adjustment->>'holder' AS rights_holder,
    (adjustment->>'amount')::DECIMAL(18, 4) AS amount
FROM (SELECT *, unnest((content::JSON->'adjustments')::JSON[]) AS adjustment FROM statements);

-- Disputes as they stand.
CREATE VIEW disputes AS
SELECT
    d.dispute, d.statement, s.contract, s.period_start, d.rights_holder, d.state, d.amount, d.reason,
    min(d.recorded_at) OVER (PARTITION BY d.dispute) AS opened_at, d.recorded_at AS changed_at, a.statement AS adjusted_by
FROM dispute_steps d
JOIN statements s ON s.sha256 = d.statement
LEFT JOIN adjustments a USING (dispute)
QUALIFY row_number() OVER (PARTITION BY d.dispute ORDER BY d.position DESC) = 1;

-- Whether an item is called by this name: its id, or the first characters (8 or more) of its SHA-256.
CREATE MACRO is_called(id, sha256, name) AS id = name OR (length(name) >= 8 AND starts_with(sha256, name));

-- Which run speaks for a generated item: of those of the method that were loaded and not withdrawn, the latest.
-- as_of: what the ledger knew at that time ('infinity': now).
CREATE MACRO speaking_as_of(as_of) AS TABLE
SELECT a.generated_id, max(a.run_id) AS run_id
FROM attributions a JOIN runs r USING (run_id)
WHERE r.loaded_at <= as_of::TIMESTAMPTZ AND r.method = 'MUCS (arXiv 2605.17938)'
    AND NOT EXISTS (SELECT 1 FROM withdrawals w WHERE w.run_id = a.run_id AND w.recorded_at <= as_of::TIMESTAMPTZ)
GROUP BY a.generated_id;

-- The edges to read: those of the runs that speak, with names.
CREATE MACRO lineage_as_of(as_of) AS TABLE
SELECT
    g.id AS generated, t.id AS training, e.rank, e.score::DOUBLE AS score, e.standard_error::DOUBLE AS standard_error,
    e.seed_spread::DOUBLE AS seed_spread, e.p_value::DOUBLE AS p_value, e.decoy_p_value::DOUBLE AS decoy_p_value, e.decoy_z::DOUBLE AS decoy_z,
    t.rights_holder, t.licence, t.date, a.converged, r.sha256 AS run,
    g.sha256 AS generated_sha256, t.sha256 AS training_sha256, t.manifest_row, e.run_id, e.generated_id, e.training_id
FROM edges e
JOIN speaking_as_of(as_of) s USING (run_id, generated_id)
JOIN attributions a USING (run_id, generated_id)
JOIN runs r USING (run_id)
JOIN generated_items g USING (generated_id)
JOIN training_items t USING (training_id);

-- How each image stands on a day: 'granted', 'opted out', 'lapsed' (granted once, for other days), or 'not yet'.
CREATE MACRO rights_on(day, as_of) AS TABLE
WITH known AS (
    SELECT sha256, rights_holder, licence, standing, uses, cap, valid_from, valid_to, position, line
    FROM rights WHERE recorded_at <= as_of::TIMESTAMPTZ
    UNION ALL
    SELECT sha256, rights_holder, licence, 'granted', NULL, NULL, date, NULL, 0, training_id
    FROM training_items t
    WHERE recorded_at <= as_of::TIMESTAMPTZ
        AND NOT EXISTS (SELECT 1 FROM rights r WHERE r.sha256 = t.sha256 AND r.recorded_at <= as_of::TIMESTAMPTZ)
), ordered AS (
    SELECT *, day::DATE >= valid_from AND (valid_to IS NULL OR day::DATE < valid_to) AS covers FROM known
)
SELECT
    sha256, rights_holder, licence,
    CASE WHEN covers THEN standing WHEN valid_from > day::DATE THEN 'not yet' ELSE 'lapsed' END AS standing,
    uses, cap, valid_from, valid_to, position
FROM ordered
QUALIFY row_number() OVER (PARTITION BY sha256 ORDER BY covers DESC, position DESC, line DESC) = 1;

-- The training items that a takedown takes, or that a holder is exposed by: the one of this name, or those whose image is this
-- rights holder's today.
CREATE MACRO theirs(target, as_of) AS TABLE
SELECT t.training_id
FROM training_items t
WHERE t.sha256 IN (SELECT sha256 FROM rights_on(current_date, as_of) WHERE rights_holder = target)
    OR (is_called(t.id, t.sha256, target) AND t.recorded_at <= as_of::TIMESTAMPTZ);

CREATE VIEW speaking AS SELECT * FROM speaking_as_of('infinity');
CREATE VIEW lineage AS SELECT * FROM lineage_as_of('infinity');

-- What a run's attribution of a generated item comes to, in a word. Each edge's p-value is taken alone, against decoys where the run was
-- calibrated and else against held-out images: a weak test, which says little for an item and much against it.
CREATE VIEW verdicts AS
SELECT
    run_id, generated_id,
    CASE
        WHEN NOT converged THEN 'not converged'
        WHEN best_p_value IS NULL THEN 'not compared'
        WHEN best_p_value <= 0.05 THEN 'above chance'
        ELSE 'within chance'
    END AS verdict
FROM attributions;
