-- The ledger: every run with its inputs, edges and validations, and the chain of entries that commits to them.
-- Append-only: nothing here is updated or deleted. SHA-256 digests are lower-case hexadecimal.

CREATE TABLE ledger (schema_version INTEGER NOT NULL);
INSERT INTO ledger VALUES (7);

-- Anything with a content digest that a run used or made: checkpoint, training set, held-out set, calibration, generated batch,
-- noise bank, edges.
CREATE TABLE artifacts (
    artifact_id INTEGER PRIMARY KEY,
    kind        VARCHAR NOT NULL,
    sha256      VARCHAR NOT NULL,
    files       INTEGER NOT NULL,
    bytes       BIGINT  NOT NULL,
    UNIQUE (kind, sha256)
);

-- One version of one manifest row. row_sha256 is over the row's canonical JSON, and so covers the image and what was said of it.
-- It has no index, here and in generated_items: uniqueness is checked when a run is loaded. (In schema 6 it was UNIQUE.)
CREATE TABLE training_items (
    training_id   INTEGER PRIMARY KEY,
    row_sha256    VARCHAR NOT NULL,
    id            VARCHAR NOT NULL,
    sha256        VARCHAR NOT NULL,
    rights_holder VARCHAR NOT NULL,
    licence       VARCHAR NOT NULL,
    date          DATE    NOT NULL,
    manifest_row  JSON    NOT NULL,
    recorded_at   TIMESTAMPTZ NOT NULL         -- when the ledger first heard of it
);

CREATE TABLE generated_items (
    generated_id INTEGER PRIMARY KEY,
    row_sha256   VARCHAR NOT NULL,
    id           VARCHAR NOT NULL,
    sha256       VARCHAR NOT NULL,
    manifest_row JSON    NOT NULL,
    recorded_at  TIMESTAMPTZ NOT NULL
);

-- Which versions of items a training set holds.
CREATE TABLE members (
    training_set_id INTEGER NOT NULL,
    training_id     INTEGER NOT NULL
);

CREATE TABLE runs (
    run_id          INTEGER PRIMARY KEY,
    sha256          VARCHAR NOT NULL UNIQUE,   -- of the run record, which commits to everything below
    method          VARCHAR NOT NULL,
    checkpoint_id   INTEGER NOT NULL,
    training_set_id INTEGER NOT NULL,
    held_out_id     INTEGER,
    calibration_id  INTEGER,
    batch_id        INTEGER NOT NULL,
    settings_sha256 VARCHAR NOT NULL,
    location        VARCHAR NOT NULL,          -- where the evidence was published
    loaded_at       TIMESTAMPTZ NOT NULL,
    record          JSON    NOT NULL
);

-- The outcome of one generated item in one run.
CREATE TABLE attributions (
    run_id            INTEGER NOT NULL,
    generated_id      INTEGER NOT NULL,
    converged         BOOLEAN NOT NULL,
    steps             INTEGER NOT NULL,
    null_loss         DOUBLE  NOT NULL,        -- the loss of a model that knows nothing, which unlearning climbs to; 1 where it goes by level
    forget_loss       DOUBLE  NOT NULL,        -- of the generated item in the last batch, bounded by the null loss; a share of it where it goes by level
    retain_loss       DOUBLE  NOT NULL,        -- of the training items in the last batch
    probe_before      DOUBLE  NOT NULL,        -- bounded forget loss under fixed noises, before unlearning
    probe_after       DOUBLE  NOT NULL,        -- and after it
    candidates        INTEGER NOT NULL,        -- training items in the race
    survivors         INTEGER NOT NULL,        -- those that screening left, each of which is an edge
    seen_auc          DOUBLE,                  -- how often a training item outscores an equally similar held-out one
    seen_auc_low      DOUBLE,                  -- its 95 % interval; all of these are null without held-out items
    seen_auc_high     DOUBLE,
    held_out_ks       DOUBLE,                  -- distance from uniform of held-out p-values against each other
    discoveries       INTEGER,                 -- edges that survive a false discovery rate of 5 % against held-out items
    decoy_discoveries INTEGER,                 -- and against decoys; null without a calibration
    recall            JSON                     -- share of the exact best K that screening kept, by K; null where not measured
);

-- No key and no index: uniqueness is checked when a run is loaded, and rows lie in (run, generated item, rank) order.
-- Numbers have the decimals that were published; a float of the published Parquet is x::DOUBLE::FLOAT.
CREATE TABLE edges (
    run_id         INTEGER NOT NULL,
    generated_id   INTEGER NOT NULL,
    training_id    INTEGER NOT NULL,
    rank           INTEGER NOT NULL,
    score          DECIMAL(18, 6) NOT NULL,
    standard_error DECIMAL(18, 6),             -- over the noise bank; null with a single noise
    seed_spread    DECIMAL(18, 6),             -- standard deviation over repeats of unlearning; null with one
    p_value        DECIMAL(18, 6),             -- against held-out look-alikes; null where none were given
    decoys         INTEGER,                    -- how many scores for decoys the training item has; null without a calibration
    decoys_above   INTEGER,                    -- how many of those are as high as its score, or higher
    decoy_p_value  DECIMAL(18, 6) GENERATED ALWAYS AS (  -- (1 + decoys_above) / (1 + decoys), rounded up
        (((1000000::BIGINT * (1 + decoys_above) + decoys) // (1 + decoys)) / 1e6)::DECIMAL(18, 6)
    ) VIRTUAL,
    decoy_z        DECIMAL(18, 3)              -- how many standard deviations the score lies above those
);

CREATE TABLE validations (
    run_id  INTEGER NOT NULL,
    suite   VARCHAR NOT NULL,
    success BOOLEAN NOT NULL,
    sha256  VARCHAR NOT NULL,                  -- of the result's canonical JSON
    result  JSON    NOT NULL
);

-- The chain: each entry is canonical JSON (RFC 8785) that holds the SHA-256 of the entry before it.
CREATE TABLE entries (
    position BIGINT PRIMARY KEY,
    kind     VARCHAR NOT NULL,
    sha256   VARCHAR NOT NULL UNIQUE,
    entry    VARCHAR NOT NULL
);

-- What was granted for which image (by its SHA-256) over which days, and since when the ledger knows. Once an image has a
-- row here, its manifest's word counts no longer; of several rows that cover a day, the one recorded last counts.
CREATE TABLE rights (
    position      BIGINT  NOT NULL,            -- of the chain's entry that brought it
    line          INTEGER NOT NULL,            -- in the file that was registered
    sha256        VARCHAR NOT NULL,
    rights_holder VARCHAR NOT NULL,
    licence       VARCHAR NOT NULL,
    standing      VARCHAR NOT NULL,            -- 'granted' or 'opted out'
    uses          VARCHAR[],                   -- what it is granted for, such as training and output; null for everything
    valid_from    DATE    NOT NULL,
    valid_to      DATE,                        -- the first day on which it does not hold; null for no end
    recorded_at   TIMESTAMPTZ NOT NULL
);

-- What was made from what, beyond what the runs say: a checkpoint from a checkpoint, a data set from a data set.
CREATE TABLE derivations (
    position      BIGINT  NOT NULL,
    child_sha256  VARCHAR NOT NULL,
    parent_sha256 VARCHAR NOT NULL,
    recorded_at   TIMESTAMPTZ NOT NULL
);

-- Runs that no longer speak, and why.
CREATE TABLE withdrawals (
    position    BIGINT  NOT NULL,
    run_id      INTEGER NOT NULL,
    reason      VARCHAR NOT NULL,
    recorded_at TIMESTAMPTZ NOT NULL
);

-- Royalties. What is stated is kept as the canonical JSON that its SHA-256 is over; these tables and the views spell it out.

-- The usage of generated items in a period, as it was reported.
CREATE TABLE usage_reports (
    position    BIGINT  NOT NULL,              -- of the chain's entry that brought it, as in all that follow
    sha256      VARCHAR NOT NULL UNIQUE,       -- of the content
    content     VARCHAR NOT NULL,              -- one object a row, sorted
    recorded_at TIMESTAMPTZ NOT NULL
);

-- Statements; of several of one contract and period, the one with the highest version counts.
CREATE TABLE statements (
    position     BIGINT  NOT NULL,
    sha256       VARCHAR NOT NULL UNIQUE,      -- of the content, and so the statement's name
    contract     VARCHAR NOT NULL,
    period_start DATE    NOT NULL,
    period_end   DATE    NOT NULL,             -- the first day that is not in it
    version      INTEGER NOT NULL,
    supersedes   VARCHAR,                      -- the SHA-256 of the version before
    currency     VARCHAR NOT NULL,             -- of all its amounts, as ISO 4217 names it
    content      VARCHAR NOT NULL,             -- header, lines, balances, adjustments
    issued_at    TIMESTAMPTZ NOT NULL
);

-- What became of a rights holder's dispute of a statement, step by step.
CREATE TABLE dispute_steps (
    position      BIGINT  NOT NULL,
    dispute       BIGINT  NOT NULL,            -- its number: the position of the entry that opened it
    statement     VARCHAR NOT NULL,            -- SHA-256
    rights_holder VARCHAR NOT NULL,
    state         VARCHAR NOT NULL,            -- 'open', then 'under review', then 'upheld' or 'rejected'
    reason        VARCHAR NOT NULL,
    amount        DECIMAL(18, 4),              -- what is owed besides, in the contract's currency; null unless upheld
    recorded_at   TIMESTAMPTZ NOT NULL
);

-- The lines of a statement's content as rows, kept when it is issued: reading them from there takes a second for every few statements.
CREATE TABLE lines (
    position        BIGINT  NOT NULL,
    line            INTEGER NOT NULL,          -- from 1, in the content's order
    right_type      VARCHAR NOT NULL,          -- 'training' or 'output'
    rights_holder   VARCHAR NOT NULL,
    basis           VARCHAR NOT NULL,          -- 'equal', 'attribution', 'fallback', or why it is held back
    generated_items INTEGER NOT NULL,          -- that count; 0, like the three that follow, where nothing was attributed
    units           DECIMAL(28, 9) NOT NULL,   -- their usage
    score_mass      DECIMAL(38, 17) NOT NULL,  -- the sum of the scores that count, split as the works are
    score_error     DECIMAL(38, 17),           -- what its standard error over the noise bank is at most; null if unknown
    share           DECIMAL(18, 12) NOT NULL,  -- of the pot
    pot             DECIMAL(18, 4) NOT NULL,
    gross           DECIMAL(18, 4) NOT NULL,
    deducted        DECIMAL(18, 4) NOT NULL,
    net             DECIMAL(18, 4) NOT NULL
);

-- The works (distinct images) that a line rests on, with the share of the pot that each brings.
CREATE TABLE works (
    position BIGINT  NOT NULL,
    line     INTEGER NOT NULL,
    sha256   VARCHAR NOT NULL,
    id       VARCHAR NOT NULL,
    share    DECIMAL(18, 12) NOT NULL
);

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
    SELECT sha256, rights_holder, licence, standing, uses, valid_from, valid_to, position, line
    FROM rights WHERE recorded_at <= as_of::TIMESTAMPTZ
    UNION ALL
    SELECT sha256, rights_holder, licence, 'granted', NULL, date, NULL, 0, training_id
    FROM training_items t
    WHERE recorded_at <= as_of::TIMESTAMPTZ
        AND NOT EXISTS (SELECT 1 FROM rights r WHERE r.sha256 = t.sha256 AND r.recorded_at <= as_of::TIMESTAMPTZ)
), ordered AS (
    SELECT *, day::DATE >= valid_from AND (valid_to IS NULL OR day::DATE < valid_to) AS covers FROM known
)
SELECT
    sha256, rights_holder, licence,
    CASE WHEN covers THEN standing WHEN valid_from > day::DATE THEN 'not yet' ELSE 'lapsed' END AS standing,
    uses, valid_from, valid_to, position
FROM ordered
QUALIFY row_number() OVER (PARTITION BY sha256 ORDER BY covers DESC, position DESC, line DESC) = 1;

-- The training items that a takedown takes, or that a holder is exposed by: the one of this name, or those whose image is this
-- rights holder's today.
CREATE MACRO theirs(target, as_of) AS TABLE
SELECT t.training_id
FROM training_items t JOIN rights_on(current_date, as_of) h ON h.sha256 = t.sha256
WHERE h.rights_holder = target OR is_called(t.id, t.sha256, target);

CREATE VIEW speaking AS SELECT * FROM speaking_as_of('infinity');
CREATE VIEW lineage AS SELECT * FROM lineage_as_of('infinity');

-- What a run's attribution of a generated item comes to, in a word. Each edge's p-value is taken alone, against decoys where the run was
-- calibrated and else against held-out images: a weak test, which says little for an item and much against it.
CREATE VIEW verdicts AS
SELECT
    run_id, generated_id,
    CASE WHEN NOT converged THEN 'not converged' WHEN best IS NULL THEN 'not compared' WHEN best <= 0.05 THEN 'above chance' ELSE 'within chance' END
        AS verdict
FROM attributions LEFT JOIN (
    SELECT run_id, generated_id, coalesce(min(decoy_p_value), min(p_value)) AS best FROM edges WHERE rank <= 10 GROUP BY ALL
) USING (run_id, generated_id);

-- What it held: two runs, rights, a derivation, a withdrawal, statements of two months, and a dispute that was upheld.
INSERT INTO artifacts (artifact_id, kind, sha256, files, bytes) VALUES (1, 'checkpoint', 'checkpointffffffffffffffffffffffffffffffffffffffffffffffffffffff', 1, 2);
INSERT INTO artifacts (artifact_id, kind, sha256, files, bytes) VALUES (2, 'training_set', 'training_setffffffffffffffffffffffffffffffffffffffffffffffffffff', 1, 2);
INSERT INTO artifacts (artifact_id, kind, sha256, files, bytes) VALUES (3, 'held_out', 'held_outffffffffffffffffffffffffffffffffffffffffffffffffffffffff', 1, 2);
INSERT INTO artifacts (artifact_id, kind, sha256, files, bytes) VALUES (4, 'batch', 'batchfffffffffffffffffffffffffffffffffffffffffffffffffffffffffff', 1, 2);
INSERT INTO artifacts (artifact_id, kind, sha256, files, bytes) VALUES (5, 'calibration', 'calibration', 1, 2);
INSERT INTO attributions (run_id, generated_id, converged, steps, null_loss, forget_loss, retain_loss, probe_before, probe_after, candidates, survivors, seen_auc, seen_auc_low, seen_auc_high, held_out_ks, discoveries, decoy_discoveries, recall) VALUES (1, 1, true, 3, 1.0, 0.96, 0.1, 0.2, 0.9, 4, 4, 0.7, 0.5, 0.9, NULL, 0, NULL, '{"2%": 1.0}');
INSERT INTO attributions (run_id, generated_id, converged, steps, null_loss, forget_loss, retain_loss, probe_before, probe_after, candidates, survivors, seen_auc, seen_auc_low, seen_auc_high, held_out_ks, discoveries, decoy_discoveries, recall) VALUES (1, 2, true, 3, 1.0, 0.96, 0.1, 0.2, 0.9, 4, 4, 0.7, 0.5, 0.9, NULL, 0, NULL, '{"2%": 1.0}');
INSERT INTO attributions (run_id, generated_id, converged, steps, null_loss, forget_loss, retain_loss, probe_before, probe_after, candidates, survivors, seen_auc, seen_auc_low, seen_auc_high, held_out_ks, discoveries, decoy_discoveries, recall) VALUES (2, 1, true, 3, 1.0, 0.96, 0.1, 0.2, 0.9, 4, 4, 0.7, 0.5, 0.9, NULL, 0, NULL, '{"2%": 1.0}');
INSERT INTO attributions (run_id, generated_id, converged, steps, null_loss, forget_loss, retain_loss, probe_before, probe_after, candidates, survivors, seen_auc, seen_auc_low, seen_auc_high, held_out_ks, discoveries, decoy_discoveries, recall) VALUES (2, 2, true, 3, 1.0, 0.96, 0.1, 0.2, 0.9, 4, 4, 0.7, 0.5, 0.9, NULL, 0, NULL, '{"2%": 1.0}');
INSERT INTO derivations (position, child_sha256, parent_sha256, recorded_at) VALUES (4, 'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc', 'dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd', '2026-11-28T17:28:48.325229+00:00');
INSERT INTO dispute_steps (position, dispute, statement, rights_holder, state, reason, amount, recorded_at) VALUES (7, 7, '21fc14ccdb0950ffe1ccbb9ead2b73b7d48f0f901486be62e2273799f4091f90', 'Ada', 'open', 'Too little', NULL, '2026-11-28T17:28:48.916790+00:00');
INSERT INTO dispute_steps (position, dispute, statement, rights_holder, state, reason, amount, recorded_at) VALUES (8, 7, '21fc14ccdb0950ffe1ccbb9ead2b73b7d48f0f901486be62e2273799f4091f90', 'Ada', 'under review', 'taken up', NULL, '2026-11-28T17:28:49.198162+00:00');
INSERT INTO dispute_steps (position, dispute, statement, rights_holder, state, reason, amount, recorded_at) VALUES (9, 7, '21fc14ccdb0950ffe1ccbb9ead2b73b7d48f0f901486be62e2273799f4091f90', 'Ada', 'upheld', 'right', 12.5000, '2026-11-28T17:28:49.488439+00:00');
INSERT INTO edges (run_id, generated_id, training_id, rank, score, standard_error, seed_spread, p_value, decoys, decoys_above, decoy_z) VALUES (1, 1, 1, 1, 0.400000, 0.010000, NULL, 0.500000, 3, 0, 1.500);
INSERT INTO edges (run_id, generated_id, training_id, rank, score, standard_error, seed_spread, p_value, decoys, decoys_above, decoy_z) VALUES (1, 1, 2, 2, 0.200000, 0.010000, NULL, 0.500000, 3, 0, 1.500);
INSERT INTO edges (run_id, generated_id, training_id, rank, score, standard_error, seed_spread, p_value, decoys, decoys_above, decoy_z) VALUES (1, 1, 3, 3, -0.100000, 0.010000, NULL, 0.500000, 3, 0, 1.500);
INSERT INTO edges (run_id, generated_id, training_id, rank, score, standard_error, seed_spread, p_value, decoys, decoys_above, decoy_z) VALUES (1, 1, 4, 4, -0.300000, 0.010000, NULL, 0.500000, 3, 0, 1.500);
INSERT INTO edges (run_id, generated_id, training_id, rank, score, standard_error, seed_spread, p_value, decoys, decoys_above, decoy_z) VALUES (1, 2, 1, 1, 0.400000, 0.010000, NULL, 0.500000, 3, 0, 1.500);
INSERT INTO edges (run_id, generated_id, training_id, rank, score, standard_error, seed_spread, p_value, decoys, decoys_above, decoy_z) VALUES (1, 2, 2, 2, 0.200000, 0.010000, NULL, 0.500000, 3, 0, 1.500);
INSERT INTO edges (run_id, generated_id, training_id, rank, score, standard_error, seed_spread, p_value, decoys, decoys_above, decoy_z) VALUES (1, 2, 3, 3, -0.100000, 0.010000, NULL, 0.500000, 3, 0, 1.500);
INSERT INTO edges (run_id, generated_id, training_id, rank, score, standard_error, seed_spread, p_value, decoys, decoys_above, decoy_z) VALUES (1, 2, 4, 4, -0.300000, 0.010000, NULL, 0.500000, 3, 0, 1.500);
INSERT INTO edges (run_id, generated_id, training_id, rank, score, standard_error, seed_spread, p_value, decoys, decoys_above, decoy_z) VALUES (2, 1, 1, 1, 0.300000, 0.010000, NULL, 0.500000, 3, 0, 1.500);
INSERT INTO edges (run_id, generated_id, training_id, rank, score, standard_error, seed_spread, p_value, decoys, decoys_above, decoy_z) VALUES (2, 1, 2, 2, 0.250000, 0.010000, NULL, 0.500000, 3, 0, 1.500);
INSERT INTO edges (run_id, generated_id, training_id, rank, score, standard_error, seed_spread, p_value, decoys, decoys_above, decoy_z) VALUES (2, 1, 3, 3, -0.200000, 0.010000, NULL, 0.500000, 3, 0, 1.500);
INSERT INTO edges (run_id, generated_id, training_id, rank, score, standard_error, seed_spread, p_value, decoys, decoys_above, decoy_z) VALUES (2, 1, 4, 4, -0.300000, 0.010000, NULL, 0.500000, 3, 0, 1.500);
INSERT INTO edges (run_id, generated_id, training_id, rank, score, standard_error, seed_spread, p_value, decoys, decoys_above, decoy_z) VALUES (2, 2, 1, 1, 0.300000, 0.010000, NULL, 0.500000, 3, 0, 1.500);
INSERT INTO edges (run_id, generated_id, training_id, rank, score, standard_error, seed_spread, p_value, decoys, decoys_above, decoy_z) VALUES (2, 2, 2, 2, 0.250000, 0.010000, NULL, 0.500000, 3, 0, 1.500);
INSERT INTO edges (run_id, generated_id, training_id, rank, score, standard_error, seed_spread, p_value, decoys, decoys_above, decoy_z) VALUES (2, 2, 3, 3, -0.200000, 0.010000, NULL, 0.500000, 3, 0, 1.500);
INSERT INTO edges (run_id, generated_id, training_id, rank, score, standard_error, seed_spread, p_value, decoys, decoys_above, decoy_z) VALUES (2, 2, 4, 4, -0.300000, 0.010000, NULL, 0.500000, 3, 0, 1.500);
INSERT INTO entries (position, kind, sha256, entry) VALUES (1, 'run', '6dccf208ce30bb6e877c647bb1e1cd3cf8e695d748c762488614adeacdb25643', '{"at":"2026-11-28T17:28:47.650458+00:00","body":{"artifacts":[{"bytes":2,"files":1,"kind":"checkpoint","sha256":"checkpointffffffffffffffffffffffffffffffffffffffffffffffffffffff"},{"bytes":2,"files":1,"kind":"training_set","sha256":"training_setffffffffffffffffffffffffffffffffffffffffffffffffffff"},{"bytes":2,"files":1,"kind":"held_out","sha256":"held_outffffffffffffffffffffffffffffffffffffffffffffffffffffffff"},{"bytes":2,"files":1,"kind":"batch","sha256":"batchfffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"},{"bytes":2,"files":1,"kind":"calibration","sha256":"calibration"}],"location":"s3://evidence/x","members":"87fc1b8247685436f7636d67a4b3ff34cfec79809861bcdd78d8b1a9fd5222a7","record":{"calibration":{"decoys":3,"sha256":"calibration"},"generated":[{"id":"g0","sha256":"0000000000000000000000000000000000000000000000000000000000000090"},{"id":"g1","sha256":"0000000000000000000000000000000000000000000000000000000000000091"}],"inputs":{"batch":{"commit":"c","path":"batch","sha256":"batchfffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"},"checkpoint":{"commit":"c","path":"checkpoint","sha256":"checkpointffffffffffffffffffffffffffffffffffffffffffffffffffffff"},"held_out":{"commit":"c","path":"held_out","sha256":"held_outffffffffffffffffffffffffffffffffffffffffffffffffffffffff"},"training_set":{"commit":"c","path":"training_set","sha256":"training_setffffffffffffffffffffffffffffffffffffffffffffffffffff"}},"method":"MUCS (arXiv 2605.17938)","name":"a","results":{"attributions":[{"candidates":4,"converged":true,"decoy_discoveries":null,"discoveries":0,"forget_loss":0.96,"held_out_ks":null,"null_loss":1,"probe_after":0.9,"probe_before":0.2,"recall":{"2%":1},"retain_loss":0.1,"row_sha256":"86fbb80ac1ab42e67114989f9a8640da127d355a8223678c036504bf52b2245c","seen_auc":0.7,"seen_auc_high":0.9,"seen_auc_low":0.5,"steps":3,"survivors":4},{"candidates":4,"converged":true,"decoy_discoveries":null,"discoveries":0,"forget_loss":0.96,"held_out_ks":null,"null_loss":1,"probe_after":0.9,"probe_before":0.2,"recall":{"2%":1},"retain_loss":0.1,"row_sha256":"510d067e92ae0f0cd531770db8b60882d4a10ca293aa774c47f8f459c7553e53","seen_auc":0.7,"seen_auc_high":0.9,"seen_auc_low":0.5,"steps":3,"survivors":4}],"edges":8,"edges_root":"6a93aea62f9b1e356070ed36cb573f4db552b72bf99352bafdd351bda76d4f62","edges_sha256":"4cbe4266b84a69b47fda248b592554564aedeb90fbb55e72114a4835262984d9"},"settings":{"num_noises":2}},"run":"0ca90cebc41ce63c9b199bec2ec752f74ae193f029222e4cb19c12983b3f31b7"},"kind":"run","position":1,"previous":"0000000000000000000000000000000000000000000000000000000000000000"}');
INSERT INTO entries (position, kind, sha256, entry) VALUES (2, 'validation', '459469a88876f89f4498125cac1619e0e550adafdc53209c32c3cdca20238691', '{"at":"2026-11-28T17:28:47.650458+00:00","body":{"result":"e716da994fd6b20cc3fc872e25311ee624f5e6f09a0abc1ac039a746f0d2f55e","run":"0ca90cebc41ce63c9b199bec2ec752f74ae193f029222e4cb19c12983b3f31b7","suite":"edges"},"kind":"validation","position":2,"previous":"6dccf208ce30bb6e877c647bb1e1cd3cf8e695d748c762488614adeacdb25643"}');
INSERT INTO entries (position, kind, sha256, entry) VALUES (3, 'rights', '27f5f4cdbcac6a3e3a72132ac0ccfdb855de402996e7248a288b58919cd97ddd', '{"at":"2026-11-28T17:28:48.011582+00:00","body":{"rows":2,"sha256":"7d7dfa57ca34fabede25b4e94de2a996ebe952760ce298db01e3b398c66efc6c"},"kind":"rights","position":3,"previous":"459469a88876f89f4498125cac1619e0e550adafdc53209c32c3cdca20238691"}');
INSERT INTO entries (position, kind, sha256, entry) VALUES (4, 'derivation', '2027de2c1df42e826587917d44616e10ae3bb3f192515f4f04ea20222dc771c0', '{"at":"2026-11-28T17:28:48.325229+00:00","body":{"child":"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc","parent":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"},"kind":"derivation","position":4,"previous":"27f5f4cdbcac6a3e3a72132ac0ccfdb855de402996e7248a288b58919cd97ddd"}');
INSERT INTO entries (position, kind, sha256, entry) VALUES (5, 'usage', '7f1cdf9d03362365c8c3502e362c01aa7e14849dde1e64ce81046235cc86d111', '{"at":"2026-11-28T17:28:48.634334+00:00","body":{"rows":2,"usage":"05d023145e915f3d60b62905a9d2d4df52aad6f30010504dee09388212d0ff2d"},"kind":"usage","position":5,"previous":"2027de2c1df42e826587917d44616e10ae3bb3f192515f4f04ea20222dc771c0"}');
INSERT INTO entries (position, kind, sha256, entry) VALUES (6, 'statement', '01441b679784033c2d83dfad5191c00cc10d3a5d194bf5c5d513d940913d1b57', '{"at":"2026-11-28T17:28:48.634334+00:00","body":{"sha256":"21fc14ccdb0950ffe1ccbb9ead2b73b7d48f0f901486be62e2273799f4091f90","statement":"art-2026/2026-10/1","supersedes":null,"version":1},"kind":"statement","position":6,"previous":"7f1cdf9d03362365c8c3502e362c01aa7e14849dde1e64ce81046235cc86d111"}');
INSERT INTO entries (position, kind, sha256, entry) VALUES (7, 'dispute', 'b1facb5c34d2d2b1653cbc64f0f77b0912adb0799bcd561b1af80ed7cc7560d3', '{"at":"2026-11-28T17:28:48.916790+00:00","body":{"amount":null,"dispute":null,"reason":"Too little","rights_holder":"Ada","state":"open","statement":"21fc14ccdb0950ffe1ccbb9ead2b73b7d48f0f901486be62e2273799f4091f90"},"kind":"dispute","position":7,"previous":"01441b679784033c2d83dfad5191c00cc10d3a5d194bf5c5d513d940913d1b57"}');
INSERT INTO entries (position, kind, sha256, entry) VALUES (8, 'dispute', '146c1ee96fb8c6307d7c3b72c299f032075f9630c952835ab4e739e452d5677d', '{"at":"2026-11-28T17:28:49.198162+00:00","body":{"amount":null,"dispute":7,"reason":"taken up","rights_holder":"Ada","state":"under review","statement":"21fc14ccdb0950ffe1ccbb9ead2b73b7d48f0f901486be62e2273799f4091f90"},"kind":"dispute","position":8,"previous":"b1facb5c34d2d2b1653cbc64f0f77b0912adb0799bcd561b1af80ed7cc7560d3"}');
INSERT INTO entries (position, kind, sha256, entry) VALUES (9, 'dispute', '1c67a93850182523af380e6c4b500d91df86af0e457770864129561b1246ea45', '{"at":"2026-11-28T17:28:49.488439+00:00","body":{"amount":"12.5000","dispute":7,"reason":"right","rights_holder":"Ada","state":"upheld","statement":"21fc14ccdb0950ffe1ccbb9ead2b73b7d48f0f901486be62e2273799f4091f90"},"kind":"dispute","position":9,"previous":"146c1ee96fb8c6307d7c3b72c299f032075f9630c952835ab4e739e452d5677d"}');
INSERT INTO entries (position, kind, sha256, entry) VALUES (10, 'run', 'f27802cf56bdf3b56b1127d23422ad2bfdee424177f904271901fa8af45e8340', '{"at":"2026-11-28T17:28:49.748476+00:00","body":{"artifacts":[{"bytes":2,"files":1,"kind":"checkpoint","sha256":"checkpointffffffffffffffffffffffffffffffffffffffffffffffffffffff"},{"bytes":2,"files":1,"kind":"training_set","sha256":"training_setffffffffffffffffffffffffffffffffffffffffffffffffffff"},{"bytes":2,"files":1,"kind":"held_out","sha256":"held_outffffffffffffffffffffffffffffffffffffffffffffffffffffffff"},{"bytes":2,"files":1,"kind":"batch","sha256":"batchfffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"},{"bytes":2,"files":1,"kind":"calibration","sha256":"calibration"}],"location":"s3://evidence/x","members":"87fc1b8247685436f7636d67a4b3ff34cfec79809861bcdd78d8b1a9fd5222a7","record":{"calibration":{"decoys":3,"sha256":"calibration"},"generated":[{"id":"g0","sha256":"0000000000000000000000000000000000000000000000000000000000000090"},{"id":"g1","sha256":"0000000000000000000000000000000000000000000000000000000000000091"}],"inputs":{"batch":{"commit":"c","path":"batch","sha256":"batchfffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"},"checkpoint":{"commit":"c","path":"checkpoint","sha256":"checkpointffffffffffffffffffffffffffffffffffffffffffffffffffffff"},"held_out":{"commit":"c","path":"held_out","sha256":"held_outffffffffffffffffffffffffffffffffffffffffffffffffffffffff"},"training_set":{"commit":"c","path":"training_set","sha256":"training_setffffffffffffffffffffffffffffffffffffffffffffffffffff"}},"method":"MUCS (arXiv 2605.17938)","name":"b","results":{"attributions":[{"candidates":4,"converged":true,"decoy_discoveries":null,"discoveries":0,"forget_loss":0.96,"held_out_ks":null,"null_loss":1,"probe_after":0.9,"probe_before":0.2,"recall":{"2%":1},"retain_loss":0.1,"row_sha256":"86fbb80ac1ab42e67114989f9a8640da127d355a8223678c036504bf52b2245c","seen_auc":0.7,"seen_auc_high":0.9,"seen_auc_low":0.5,"steps":3,"survivors":4},{"candidates":4,"converged":true,"decoy_discoveries":null,"discoveries":0,"forget_loss":0.96,"held_out_ks":null,"null_loss":1,"probe_after":0.9,"probe_before":0.2,"recall":{"2%":1},"retain_loss":0.1,"row_sha256":"510d067e92ae0f0cd531770db8b60882d4a10ca293aa774c47f8f459c7553e53","seen_auc":0.7,"seen_auc_high":0.9,"seen_auc_low":0.5,"steps":3,"survivors":4}],"edges":8,"edges_root":"5b8011ca01b27b7add953fd4123ffee0c7ab004896d87f941b31f6254a85f4b8","edges_sha256":"5028525e7d77ccdc9822cbf4cc74a3d75dbb6a9a0368eed3b2120238fee026f9"},"settings":{"num_noises":2}},"run":"ac9b3b768a125ae5578969a50438b41de08c9b4455325795267a8c1ebc4c1a49"},"kind":"run","position":10,"previous":"1c67a93850182523af380e6c4b500d91df86af0e457770864129561b1246ea45"}');
INSERT INTO entries (position, kind, sha256, entry) VALUES (11, 'validation', '7e5ab775fdacd1dac89fb9cb917e159dd01890e554069d6467700f0a043251dd', '{"at":"2026-11-28T17:28:49.748476+00:00","body":{"result":"e716da994fd6b20cc3fc872e25311ee624f5e6f09a0abc1ac039a746f0d2f55e","run":"ac9b3b768a125ae5578969a50438b41de08c9b4455325795267a8c1ebc4c1a49","suite":"edges"},"kind":"validation","position":11,"previous":"f27802cf56bdf3b56b1127d23422ad2bfdee424177f904271901fa8af45e8340"}');
INSERT INTO entries (position, kind, sha256, entry) VALUES (12, 'statement', 'a55ad6b1e41ffc8dfca45e8b6fdd776137cfcbc97e20fa73677a224b3c7f8f6d', '{"at":"2026-11-28T17:28:50.190425+00:00","body":{"sha256":"fc5c2af0f79e704a6df03b6f215e02b05587133c45b7bb5d1cae2adbdb96d7b4","statement":"art-2026/2026-10/2","supersedes":"21fc14ccdb0950ffe1ccbb9ead2b73b7d48f0f901486be62e2273799f4091f90","version":2},"kind":"statement","position":12,"previous":"7e5ab775fdacd1dac89fb9cb917e159dd01890e554069d6467700f0a043251dd"}');
INSERT INTO entries (position, kind, sha256, entry) VALUES (13, 'withdrawal', 'e3d4b1d83f281b0328332a7bcff81387efdcbbe1f07aec91cd58913f0c4a042d', '{"at":"2026-11-28T17:28:50.484106+00:00","body":{"reason":"wrong model","run":"ac9b3b768a125ae5578969a50438b41de08c9b4455325795267a8c1ebc4c1a49"},"kind":"withdrawal","position":13,"previous":"a55ad6b1e41ffc8dfca45e8b6fdd776137cfcbc97e20fa73677a224b3c7f8f6d"}');
INSERT INTO entries (position, kind, sha256, entry) VALUES (14, 'usage', 'e649e26c9109fdc4d582b103285a7d206d66440362614f4fb4fca768c4656b3e', '{"at":"2026-11-28T17:28:50.791813+00:00","body":{"rows":2,"usage":"dc1bce8d92241b0436d9540a79ab551f3e9e8cda33578bf2ccc68f66989c7f33"},"kind":"usage","position":14,"previous":"e3d4b1d83f281b0328332a7bcff81387efdcbbe1f07aec91cd58913f0c4a042d"}');
INSERT INTO entries (position, kind, sha256, entry) VALUES (15, 'statement', 'b347aa3eb8026d7ad4d29cd592390cc05d59a37a3e96b7b3e5459123649dab8e', '{"at":"2026-11-28T17:28:50.791813+00:00","body":{"sha256":"fdc7083f9da9807b866f4f223d8cf9d82e65a55951118a6689ad3131dbf2c32b","statement":"art-2026/2026-11/1","supersedes":null,"version":1},"kind":"statement","position":15,"previous":"e649e26c9109fdc4d582b103285a7d206d66440362614f4fb4fca768c4656b3e"}');
INSERT INTO generated_items (generated_id, row_sha256, id, sha256, manifest_row, recorded_at) VALUES (1, '86fbb80ac1ab42e67114989f9a8640da127d355a8223678c036504bf52b2245c', 'g0', '0000000000000000000000000000000000000000000000000000000000000090', '{"id":"g0","seed":"0","sha256":"0000000000000000000000000000000000000000000000000000000000000090"}', '2026-11-28T17:28:47.650458+00:00');
INSERT INTO generated_items (generated_id, row_sha256, id, sha256, manifest_row, recorded_at) VALUES (2, '510d067e92ae0f0cd531770db8b60882d4a10ca293aa774c47f8f459c7553e53', 'g1', '0000000000000000000000000000000000000000000000000000000000000091', '{"id":"g1","seed":"1","sha256":"0000000000000000000000000000000000000000000000000000000000000091"}', '2026-11-28T17:28:47.650458+00:00');
INSERT INTO lines (position, line, right_type, rights_holder, basis, generated_items, units, score_mass, score_error, share, pot, gross, deducted, net) VALUES (6, 1, 'output', 'Suspense account', 'not granted for output', 2, 4.000000000, 1.20000000000000000, 0.04000000000000000, 1.000000000000, 120.0000, 120.0000, 15.0000, 105.0000);
INSERT INTO lines (position, line, right_type, rights_holder, basis, generated_items, units, score_mass, score_error, share, pot, gross, deducted, net) VALUES (6, 2, 'training', 'Ada', 'equal', 0, 0E-9, 0E-17, 0E-17, 0.666666666667, 100.0000, 66.6700, 8.3300, 58.3400);
INSERT INTO lines (position, line, right_type, rights_holder, basis, generated_items, units, score_mass, score_error, share, pot, gross, deducted, net) VALUES (6, 3, 'training', 'Ben', 'equal', 0, 0E-9, 0E-17, 0E-17, 0.333333333333, 100.0000, 33.3300, 4.1600, 29.1700);
INSERT INTO lines (position, line, right_type, rights_holder, basis, generated_items, units, score_mass, score_error, share, pot, gross, deducted, net) VALUES (12, 1, 'output', 'Suspense account', 'not granted for output', 2, 4.000000000, 1.10000000000000000, 0.04000000000000000, 1.000000000000, 120.0000, 120.0000, 15.0000, 105.0000);
INSERT INTO lines (position, line, right_type, rights_holder, basis, generated_items, units, score_mass, score_error, share, pot, gross, deducted, net) VALUES (12, 2, 'training', 'Ada', 'equal', 0, 0E-9, 0E-17, 0E-17, 0.666666666667, 100.0000, 66.6700, 8.3300, 58.3400);
INSERT INTO lines (position, line, right_type, rights_holder, basis, generated_items, units, score_mass, score_error, share, pot, gross, deducted, net) VALUES (12, 3, 'training', 'Ben', 'equal', 0, 0E-9, 0E-17, 0E-17, 0.333333333333, 100.0000, 33.3300, 4.1600, 29.1700);
INSERT INTO lines (position, line, right_type, rights_holder, basis, generated_items, units, score_mass, score_error, share, pot, gross, deducted, net) VALUES (15, 1, 'output', 'Suspense account', 'not granted for output', 2, 4.000000000, 1.20000000000000000, 0.04000000000000000, 1.000000000000, 120.0000, 120.0000, 15.0000, 105.0000);
INSERT INTO lines (position, line, right_type, rights_holder, basis, generated_items, units, score_mass, score_error, share, pot, gross, deducted, net) VALUES (15, 2, 'training', 'Ada', 'equal', 0, 0E-9, 0E-17, 0E-17, 0.666666666667, 100.0000, 66.6700, 8.3300, 58.3400);
INSERT INTO lines (position, line, right_type, rights_holder, basis, generated_items, units, score_mass, score_error, share, pot, gross, deducted, net) VALUES (15, 3, 'training', 'Ben', 'equal', 0, 0E-9, 0E-17, 0E-17, 0.333333333333, 100.0000, 33.3300, 4.1600, 29.1700);
INSERT INTO members (training_set_id, training_id) VALUES (2, 1);
INSERT INTO members (training_set_id, training_id) VALUES (2, 2);
INSERT INTO members (training_set_id, training_id) VALUES (2, 3);
INSERT INTO members (training_set_id, training_id) VALUES (2, 4);
INSERT INTO rights (position, line, sha256, rights_holder, licence, standing, uses, valid_from, valid_to, recorded_at) VALUES (3, 2, '0000000000000000000000000000000000000000000000000000000000000000', 'Ada', 'private', 'granted', ['training'], '2025-01-01', NULL, '2026-11-28T17:28:48.011582+00:00');
INSERT INTO rights (position, line, sha256, rights_holder, licence, standing, uses, valid_from, valid_to, recorded_at) VALUES (3, 3, '0000000000000000000000000000000000000000000000000000000000000001', 'Ben Émile', 'CC0', 'opted out', NULL, '2026-03-01', '2027-01-01', '2026-11-28T17:28:48.011582+00:00');
INSERT INTO runs (run_id, sha256, method, checkpoint_id, training_set_id, held_out_id, calibration_id, batch_id, settings_sha256, location, loaded_at, record) VALUES (1, '0ca90cebc41ce63c9b199bec2ec752f74ae193f029222e4cb19c12983b3f31b7', 'MUCS (arXiv 2605.17938)', 1, 2, 3, 5, 4, '2f437814f09809bdb138d6bad90105d4218d9cbd5c194f475feefd810e5ca1cd', 's3://evidence/x', '2026-11-28T17:28:47.650458+00:00', '{"calibration":{"decoys":3,"sha256":"calibration"},"generated":[{"id":"g0","sha256":"0000000000000000000000000000000000000000000000000000000000000090"},{"id":"g1","sha256":"0000000000000000000000000000000000000000000000000000000000000091"}],"inputs":{"batch":{"commit":"c","path":"batch","sha256":"batchfffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"},"checkpoint":{"commit":"c","path":"checkpoint","sha256":"checkpointffffffffffffffffffffffffffffffffffffffffffffffffffffff"},"held_out":{"commit":"c","path":"held_out","sha256":"held_outffffffffffffffffffffffffffffffffffffffffffffffffffffffff"},"training_set":{"commit":"c","path":"training_set","sha256":"training_setffffffffffffffffffffffffffffffffffffffffffffffffffff"}},"method":"MUCS (arXiv 2605.17938)","name":"a","results":{"attributions":[{"candidates":4,"converged":true,"decoy_discoveries":null,"discoveries":0,"forget_loss":0.96,"held_out_ks":null,"null_loss":1,"probe_after":0.9,"probe_before":0.2,"recall":{"2%":1},"retain_loss":0.1,"row_sha256":"86fbb80ac1ab42e67114989f9a8640da127d355a8223678c036504bf52b2245c","seen_auc":0.7,"seen_auc_high":0.9,"seen_auc_low":0.5,"steps":3,"survivors":4},{"candidates":4,"converged":true,"decoy_discoveries":null,"discoveries":0,"forget_loss":0.96,"held_out_ks":null,"null_loss":1,"probe_after":0.9,"probe_before":0.2,"recall":{"2%":1},"retain_loss":0.1,"row_sha256":"510d067e92ae0f0cd531770db8b60882d4a10ca293aa774c47f8f459c7553e53","seen_auc":0.7,"seen_auc_high":0.9,"seen_auc_low":0.5,"steps":3,"survivors":4}],"edges":8,"edges_root":"6a93aea62f9b1e356070ed36cb573f4db552b72bf99352bafdd351bda76d4f62","edges_sha256":"4cbe4266b84a69b47fda248b592554564aedeb90fbb55e72114a4835262984d9"},"settings":{"num_noises":2}}');
INSERT INTO runs (run_id, sha256, method, checkpoint_id, training_set_id, held_out_id, calibration_id, batch_id, settings_sha256, location, loaded_at, record) VALUES (2, 'ac9b3b768a125ae5578969a50438b41de08c9b4455325795267a8c1ebc4c1a49', 'MUCS (arXiv 2605.17938)', 1, 2, 3, 5, 4, '2f437814f09809bdb138d6bad90105d4218d9cbd5c194f475feefd810e5ca1cd', 's3://evidence/x', '2026-11-28T17:28:49.748476+00:00', '{"calibration":{"decoys":3,"sha256":"calibration"},"generated":[{"id":"g0","sha256":"0000000000000000000000000000000000000000000000000000000000000090"},{"id":"g1","sha256":"0000000000000000000000000000000000000000000000000000000000000091"}],"inputs":{"batch":{"commit":"c","path":"batch","sha256":"batchfffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"},"checkpoint":{"commit":"c","path":"checkpoint","sha256":"checkpointffffffffffffffffffffffffffffffffffffffffffffffffffffff"},"held_out":{"commit":"c","path":"held_out","sha256":"held_outffffffffffffffffffffffffffffffffffffffffffffffffffffffff"},"training_set":{"commit":"c","path":"training_set","sha256":"training_setffffffffffffffffffffffffffffffffffffffffffffffffffff"}},"method":"MUCS (arXiv 2605.17938)","name":"b","results":{"attributions":[{"candidates":4,"converged":true,"decoy_discoveries":null,"discoveries":0,"forget_loss":0.96,"held_out_ks":null,"null_loss":1,"probe_after":0.9,"probe_before":0.2,"recall":{"2%":1},"retain_loss":0.1,"row_sha256":"86fbb80ac1ab42e67114989f9a8640da127d355a8223678c036504bf52b2245c","seen_auc":0.7,"seen_auc_high":0.9,"seen_auc_low":0.5,"steps":3,"survivors":4},{"candidates":4,"converged":true,"decoy_discoveries":null,"discoveries":0,"forget_loss":0.96,"held_out_ks":null,"null_loss":1,"probe_after":0.9,"probe_before":0.2,"recall":{"2%":1},"retain_loss":0.1,"row_sha256":"510d067e92ae0f0cd531770db8b60882d4a10ca293aa774c47f8f459c7553e53","seen_auc":0.7,"seen_auc_high":0.9,"seen_auc_low":0.5,"steps":3,"survivors":4}],"edges":8,"edges_root":"5b8011ca01b27b7add953fd4123ffee0c7ab004896d87f941b31f6254a85f4b8","edges_sha256":"5028525e7d77ccdc9822cbf4cc74a3d75dbb6a9a0368eed3b2120238fee026f9"},"settings":{"num_noises":2}}');
INSERT INTO statements (position, sha256, contract, period_start, period_end, version, supersedes, currency, content, issued_at) VALUES (6, '21fc14ccdb0950ffe1ccbb9ead2b73b7d48f0f901486be62e2273799f4091f90', 'art-2026', '2026-10-01', '2026-11-01', 1, NULL, 'EUR', '{"adjustments":[],"balances":[{"adjustments":"0.00","carried_in":"0.00","carried_out":"0.00","difference":"58.34","holder":"Ada","net":"58.34","paid":"58.34"},{"adjustments":"0.00","carried_in":"0.00","carried_out":"0.00","difference":"29.17","holder":"Ben","net":"29.17","paid":"29.17"},{"adjustments":"0.00","carried_in":"0.00","carried_out":"105.00","difference":"105.00","holder":"Suspense account","net":"105.00","paid":"0.00"}],"header":{"as_of":"2026-11-28T17:28:48.634334+00:00","changes":[],"checkpoints":["checkpointffffffffffffffffffffffffffffffffffffffffffffffffffffff"],"contract":{"currency":"EUR","decimals":2,"deductions":{"administration":"10","tax":"2.5"},"evidence":{"converged":true,"decoy_p_value":null,"decoy_z":null,"p_value":null,"top":3},"fallback":"equal","id":"art-2026","licensee":{"ipi":null,"isni":null,"name":"Picture Maker"},"licensor":{"ipi":"00000000199","isni":null,"name":"Collecting Society"},"minimum_payout":"20.00","pots":{"output":{"amount":null,"minimum":"50","percentage":"30"},"training":{"amount":"100.00","minimum":"0","percentage":null}},"sha256":"c27958473cb7d2f59a14d27495562152cca231b370e5c4ad182ff8d0e3d4ec8a","splits":{},"suspense":"Suspense account","territories":[],"training_sets":[],"valid_from":"2026-01-01","valid_to":"2027-01-01","version":1},"currency":"EUR","decimals":2,"issued_at":"2026-11-28T17:28:48.634334+00:00","issued_by":"mucs 0.1.0","ledger":{"head":"7f1cdf9d03362365c8c3502e362c01aa7e14849dde1e64ce81046235cc86d111","position":5},"methods":["MUCS (arXiv 2605.17938)"],"noise_banks":[],"period":{"end":"2026-11-01T00:00:00Z","start":"2026-10-01T00:00:00Z"},"pots":{"output":"120.00","training":"100.00"},"runs":["0ca90cebc41ce63c9b199bec2ec752f74ae193f029222e4cb19c12983b3f31b7"],"settings":["2f437814f09809bdb138d6bad90105d4218d9cbd5c194f475feefd810e5ca1cd"],"statement":"art-2026/2026-10/1","supersedes":null,"training_sets":["training_setffffffffffffffffffffffffffffffffffffffffffffffffffff"],"usage":{"generated_items":2,"revenue":"400.01","rows":2,"rows_counted":2,"sha256":"05d023145e915f3d60b62905a9d2d4df52aad6f30010504dee09388212d0ff2d","units":"4","verdicts":{"above chance":0,"not attributed":0,"not compared":0,"not converged":0,"within chance":2},"with_evidence":2},"version":1,"works":{"known":4,"licensed":3}},"lines":[{"basis":"not granted for output","deducted":"15.00","deductions":{"administration":"12.00","tax":"3.00"},"gross":"120.00","holder":"Suspense account","items":2,"net":"105.00","right_type":"output","score_error":"0.04","score_mass":"1.2","share":"1.000000000000","units":"4","works":[{"id":"t0","sha256":"0000000000000000000000000000000000000000000000000000000000000000","share":"0.666666666667"},{"id":"t1","sha256":"0000000000000000000000000000000000000000000000000000000000000001","share":"0.333333333333"}]},{"basis":"equal","deducted":"8.33","deductions":{"administration":"6.66","tax":"1.67"},"gross":"66.67","holder":"Ada","items":0,"net":"58.34","right_type":"training","score_error":"0","score_mass":"0","share":"0.666666666667","units":"0","works":[{"id":"t0","sha256":"0000000000000000000000000000000000000000000000000000000000000000","share":"0.333333333334"},{"id":"t2","sha256":"0000000000000000000000000000000000000000000000000000000000000002","share":"0.333333333333"}]},{"basis":"equal","deducted":"4.16","deductions":{"administration":"3.33","tax":"0.83"},"gross":"33.33","holder":"Ben","items":0,"net":"29.17","right_type":"training","score_error":"0","score_mass":"0","share":"0.333333333333","units":"0","works":[{"id":"t3","sha256":"0000000000000000000000000000000000000000000000000000000000000003","share":"0.333333333333"}]}]}', '2026-11-28T17:28:48.634334+00:00');
INSERT INTO statements (position, sha256, contract, period_start, period_end, version, supersedes, currency, content, issued_at) VALUES (12, 'fc5c2af0f79e704a6df03b6f215e02b05587133c45b7bb5d1cae2adbdb96d7b4', 'art-2026', '2026-10-01', '2026-11-01', 2, '21fc14ccdb0950ffe1ccbb9ead2b73b7d48f0f901486be62e2273799f4091f90', 'EUR', '{"adjustments":[{"amount":"12.50","dispute":7,"holder":"Ada","reason":"right","statement":"21fc14ccdb0950ffe1ccbb9ead2b73b7d48f0f901486be62e2273799f4091f90"}],"balances":[{"adjustments":"12.50","carried_in":"0.00","carried_out":"12.50","difference":"0.00","holder":"Ada","net":"58.34","paid":"0.00"},{"adjustments":"0.00","carried_in":"0.00","carried_out":"0.00","difference":"0.00","holder":"Ben","net":"29.17","paid":"0.00"},{"adjustments":"0.00","carried_in":"105.00","carried_out":"105.00","difference":"0.00","holder":"Suspense account","net":"105.00","paid":"0.00"}],"header":{"as_of":"2026-11-28T17:28:50.190425+00:00","changes":["Run ac9b3b768a125ae5, loaded at 2026-11-28 17:28 UTC, speaks for used items now.","Run 0ca90cebc41ce63c speaks for no used item any more."],"checkpoints":["checkpointffffffffffffffffffffffffffffffffffffffffffffffffffffff"],"contract":{"currency":"EUR","decimals":2,"deductions":{"administration":"10","tax":"2.5"},"evidence":{"converged":true,"decoy_p_value":null,"decoy_z":null,"p_value":null,"top":3},"fallback":"equal","id":"art-2026","licensee":{"ipi":null,"isni":null,"name":"Picture Maker"},"licensor":{"ipi":"00000000199","isni":null,"name":"Collecting Society"},"minimum_payout":"20.00","pots":{"output":{"amount":null,"minimum":"50","percentage":"30"},"training":{"amount":"100.00","minimum":"0","percentage":null}},"sha256":"c27958473cb7d2f59a14d27495562152cca231b370e5c4ad182ff8d0e3d4ec8a","splits":{},"suspense":"Suspense account","territories":[],"training_sets":[],"valid_from":"2026-01-01","valid_to":"2027-01-01","version":1},"currency":"EUR","decimals":2,"issued_at":"2026-11-28T17:28:50.190425+00:00","issued_by":"mucs 0.1.0","ledger":{"head":"7e5ab775fdacd1dac89fb9cb917e159dd01890e554069d6467700f0a043251dd","position":11},"methods":["MUCS (arXiv 2605.17938)"],"noise_banks":[],"period":{"end":"2026-11-01T00:00:00Z","start":"2026-10-01T00:00:00Z"},"pots":{"output":"120.00","training":"100.00"},"runs":["ac9b3b768a125ae5578969a50438b41de08c9b4455325795267a8c1ebc4c1a49"],"settings":["2f437814f09809bdb138d6bad90105d4218d9cbd5c194f475feefd810e5ca1cd"],"statement":"art-2026/2026-10/2","supersedes":"21fc14ccdb0950ffe1ccbb9ead2b73b7d48f0f901486be62e2273799f4091f90","training_sets":["training_setffffffffffffffffffffffffffffffffffffffffffffffffffff"],"usage":{"generated_items":2,"revenue":"400.01","rows":2,"rows_counted":2,"sha256":"05d023145e915f3d60b62905a9d2d4df52aad6f30010504dee09388212d0ff2d","units":"4","verdicts":{"above chance":0,"not attributed":0,"not compared":0,"not converged":0,"within chance":2},"with_evidence":2},"version":2,"works":{"known":4,"licensed":3}},"lines":[{"basis":"not granted for output","deducted":"15.00","deductions":{"administration":"12.00","tax":"3.00"},"gross":"120.00","holder":"Suspense account","items":2,"net":"105.00","right_type":"output","score_error":"0.04","score_mass":"1.1","share":"1.000000000000","units":"4","works":[{"id":"t0","sha256":"0000000000000000000000000000000000000000000000000000000000000000","share":"0.545454545455"},{"id":"t1","sha256":"0000000000000000000000000000000000000000000000000000000000000001","share":"0.454545454545"}]},{"basis":"equal","deducted":"8.33","deductions":{"administration":"6.66","tax":"1.67"},"gross":"66.67","holder":"Ada","items":0,"net":"58.34","right_type":"training","score_error":"0","score_mass":"0","share":"0.666666666667","units":"0","works":[{"id":"t0","sha256":"0000000000000000000000000000000000000000000000000000000000000000","share":"0.333333333334"},{"id":"t2","sha256":"0000000000000000000000000000000000000000000000000000000000000002","share":"0.333333333333"}]},{"basis":"equal","deducted":"4.16","deductions":{"administration":"3.33","tax":"0.83"},"gross":"33.33","holder":"Ben","items":0,"net":"29.17","right_type":"training","score_error":"0","score_mass":"0","share":"0.333333333333","units":"0","works":[{"id":"t3","sha256":"0000000000000000000000000000000000000000000000000000000000000003","share":"0.333333333333"}]}]}', '2026-11-28T17:28:50.190425+00:00');
INSERT INTO statements (position, sha256, contract, period_start, period_end, version, supersedes, currency, content, issued_at) VALUES (15, 'fdc7083f9da9807b866f4f223d8cf9d82e65a55951118a6689ad3131dbf2c32b', 'art-2026', '2026-11-01', '2026-12-01', 1, NULL, 'EUR', '{"adjustments":[],"balances":[{"adjustments":"0.00","carried_in":"12.50","carried_out":"0.00","difference":"58.34","holder":"Ada","net":"58.34","paid":"70.84"},{"adjustments":"0.00","carried_in":"0.00","carried_out":"0.00","difference":"29.17","holder":"Ben","net":"29.17","paid":"29.17"},{"adjustments":"0.00","carried_in":"105.00","carried_out":"210.00","difference":"105.00","holder":"Suspense account","net":"105.00","paid":"0.00"}],"header":{"as_of":"2026-11-28T17:28:50.791813+00:00","changes":[],"checkpoints":["checkpointffffffffffffffffffffffffffffffffffffffffffffffffffffff"],"contract":{"currency":"EUR","decimals":2,"deductions":{"administration":"10","tax":"2.5"},"evidence":{"converged":true,"decoy_p_value":null,"decoy_z":null,"p_value":null,"top":3},"fallback":"equal","id":"art-2026","licensee":{"ipi":null,"isni":null,"name":"Picture Maker"},"licensor":{"ipi":"00000000199","isni":null,"name":"Collecting Society"},"minimum_payout":"20.00","pots":{"output":{"amount":null,"minimum":"50","percentage":"30"},"training":{"amount":"100.00","minimum":"0","percentage":null}},"sha256":"c27958473cb7d2f59a14d27495562152cca231b370e5c4ad182ff8d0e3d4ec8a","splits":{},"suspense":"Suspense account","territories":[],"training_sets":[],"valid_from":"2026-01-01","valid_to":"2027-01-01","version":1},"currency":"EUR","decimals":2,"issued_at":"2026-11-28T17:28:50.791813+00:00","issued_by":"mucs 0.1.0","ledger":{"head":"e649e26c9109fdc4d582b103285a7d206d66440362614f4fb4fca768c4656b3e","position":14},"methods":["MUCS (arXiv 2605.17938)"],"noise_banks":[],"period":{"end":"2026-12-01T00:00:00Z","start":"2026-11-01T00:00:00Z"},"pots":{"output":"120.00","training":"100.00"},"runs":["0ca90cebc41ce63c9b199bec2ec752f74ae193f029222e4cb19c12983b3f31b7"],"settings":["2f437814f09809bdb138d6bad90105d4218d9cbd5c194f475feefd810e5ca1cd"],"statement":"art-2026/2026-11/1","supersedes":null,"training_sets":["training_setffffffffffffffffffffffffffffffffffffffffffffffffffff"],"usage":{"generated_items":2,"revenue":"400.01","rows":2,"rows_counted":2,"sha256":"dc1bce8d92241b0436d9540a79ab551f3e9e8cda33578bf2ccc68f66989c7f33","units":"4","verdicts":{"above chance":0,"not attributed":0,"not compared":0,"not converged":0,"within chance":2},"with_evidence":2},"version":1,"works":{"known":4,"licensed":3}},"lines":[{"basis":"not granted for output","deducted":"15.00","deductions":{"administration":"12.00","tax":"3.00"},"gross":"120.00","holder":"Suspense account","items":2,"net":"105.00","right_type":"output","score_error":"0.04","score_mass":"1.2","share":"1.000000000000","units":"4","works":[{"id":"t0","sha256":"0000000000000000000000000000000000000000000000000000000000000000","share":"0.666666666667"},{"id":"t1","sha256":"0000000000000000000000000000000000000000000000000000000000000001","share":"0.333333333333"}]},{"basis":"equal","deducted":"8.33","deductions":{"administration":"6.66","tax":"1.67"},"gross":"66.67","holder":"Ada","items":0,"net":"58.34","right_type":"training","score_error":"0","score_mass":"0","share":"0.666666666667","units":"0","works":[{"id":"t0","sha256":"0000000000000000000000000000000000000000000000000000000000000000","share":"0.333333333334"},{"id":"t2","sha256":"0000000000000000000000000000000000000000000000000000000000000002","share":"0.333333333333"}]},{"basis":"equal","deducted":"4.16","deductions":{"administration":"3.33","tax":"0.83"},"gross":"33.33","holder":"Ben","items":0,"net":"29.17","right_type":"training","score_error":"0","score_mass":"0","share":"0.333333333333","units":"0","works":[{"id":"t3","sha256":"0000000000000000000000000000000000000000000000000000000000000003","share":"0.333333333333"}]}]}', '2026-11-28T17:28:50.791813+00:00');
INSERT INTO training_items (training_id, row_sha256, id, sha256, rights_holder, licence, date, manifest_row, recorded_at) VALUES (1, '66326488381444a6aba2c194bc9ed2f948a3df48ffdc2d442769fb1f766e7825', 't0', '0000000000000000000000000000000000000000000000000000000000000000', 'Ada', 'CC0', '2024-01-01', '{"date":"2024-01-01","id":"t0","licence":"CC0","rights_holder":"Ada","sha256":"0000000000000000000000000000000000000000000000000000000000000000"}', '2026-11-28T17:28:47.650458+00:00');
INSERT INTO training_items (training_id, row_sha256, id, sha256, rights_holder, licence, date, manifest_row, recorded_at) VALUES (2, '1a8d5381acc38c84e53689f89809e1af5b8cafaf0cb1ce6088c7e6b88bcbb3d6', 't1', '0000000000000000000000000000000000000000000000000000000000000001', 'Ben', 'CC0', '2024-01-01', '{"date":"2024-01-01","id":"t1","licence":"CC0","rights_holder":"Ben","sha256":"0000000000000000000000000000000000000000000000000000000000000001"}', '2026-11-28T17:28:47.650458+00:00');
INSERT INTO training_items (training_id, row_sha256, id, sha256, rights_holder, licence, date, manifest_row, recorded_at) VALUES (3, '6fc5e0d93203ec1bdc43c0d8a146ac256e6e19eb4c7f7996dc91c677314adb96', 't2', '0000000000000000000000000000000000000000000000000000000000000002', 'Ada', 'CC0', '2024-01-01', '{"date":"2024-01-01","id":"t2","licence":"CC0","rights_holder":"Ada","sha256":"0000000000000000000000000000000000000000000000000000000000000002"}', '2026-11-28T17:28:47.650458+00:00');
INSERT INTO training_items (training_id, row_sha256, id, sha256, rights_holder, licence, date, manifest_row, recorded_at) VALUES (4, '603f941df39b987ba878170a2ecfdaae55495437441810aad8385a1859ebef5d', 't3', '0000000000000000000000000000000000000000000000000000000000000003', 'Ben', 'CC0', '2024-01-01', '{"date":"2024-01-01","id":"t3","licence":"CC0","rights_holder":"Ben","sha256":"0000000000000000000000000000000000000000000000000000000000000003"}', '2026-11-28T17:28:47.650458+00:00');
INSERT INTO usage_reports (position, sha256, content, recorded_at) VALUES (5, '05d023145e915f3d60b62905a9d2d4df52aad6f30010504dee09388212d0ff2d', '[{"date":"2026-10-02","generated":"g0","revenue":"300","units":"3"},{"date":"2026-10-09","generated":"g1","revenue":"100.01","units":"1"}]', '2026-11-28T17:28:48.634334+00:00');
INSERT INTO usage_reports (position, sha256, content, recorded_at) VALUES (14, 'dc1bce8d92241b0436d9540a79ab551f3e9e8cda33578bf2ccc68f66989c7f33', '[{"date":"2026-11-02","generated":"g0","revenue":"300","units":"3"},{"date":"2026-11-09","generated":"g1","revenue":"100.01","units":"1"}]', '2026-11-28T17:28:50.791813+00:00');
INSERT INTO validations (run_id, suite, success, sha256, result) VALUES (1, 'edges', true, 'e716da994fd6b20cc3fc872e25311ee624f5e6f09a0abc1ac039a746f0d2f55e', '{"results":[],"success":true,"suite":"edges"}');
INSERT INTO validations (run_id, suite, success, sha256, result) VALUES (2, 'edges', true, 'e716da994fd6b20cc3fc872e25311ee624f5e6f09a0abc1ac039a746f0d2f55e', '{"results":[],"success":true,"suite":"edges"}');
INSERT INTO withdrawals (position, run_id, reason, recorded_at) VALUES (13, 2, 'wrong model', '2026-11-28T17:28:50.484106+00:00');
INSERT INTO works (position, line, sha256, id, share) VALUES (6, 1, '0000000000000000000000000000000000000000000000000000000000000000', 't0', 0.666666666667);
INSERT INTO works (position, line, sha256, id, share) VALUES (6, 1, '0000000000000000000000000000000000000000000000000000000000000001', 't1', 0.333333333333);
INSERT INTO works (position, line, sha256, id, share) VALUES (6, 2, '0000000000000000000000000000000000000000000000000000000000000000', 't0', 0.333333333334);
INSERT INTO works (position, line, sha256, id, share) VALUES (6, 2, '0000000000000000000000000000000000000000000000000000000000000002', 't2', 0.333333333333);
INSERT INTO works (position, line, sha256, id, share) VALUES (6, 3, '0000000000000000000000000000000000000000000000000000000000000003', 't3', 0.333333333333);
INSERT INTO works (position, line, sha256, id, share) VALUES (12, 1, '0000000000000000000000000000000000000000000000000000000000000000', 't0', 0.545454545455);
INSERT INTO works (position, line, sha256, id, share) VALUES (12, 1, '0000000000000000000000000000000000000000000000000000000000000001', 't1', 0.454545454545);
INSERT INTO works (position, line, sha256, id, share) VALUES (12, 2, '0000000000000000000000000000000000000000000000000000000000000000', 't0', 0.333333333334);
INSERT INTO works (position, line, sha256, id, share) VALUES (12, 2, '0000000000000000000000000000000000000000000000000000000000000002', 't2', 0.333333333333);
INSERT INTO works (position, line, sha256, id, share) VALUES (12, 3, '0000000000000000000000000000000000000000000000000000000000000003', 't3', 0.333333333333);
INSERT INTO works (position, line, sha256, id, share) VALUES (15, 1, '0000000000000000000000000000000000000000000000000000000000000000', 't0', 0.666666666667);
INSERT INTO works (position, line, sha256, id, share) VALUES (15, 1, '0000000000000000000000000000000000000000000000000000000000000001', 't1', 0.333333333333);
INSERT INTO works (position, line, sha256, id, share) VALUES (15, 2, '0000000000000000000000000000000000000000000000000000000000000000', 't0', 0.333333333334);
INSERT INTO works (position, line, sha256, id, share) VALUES (15, 2, '0000000000000000000000000000000000000000000000000000000000000002', 't2', 0.333333333333);
INSERT INTO works (position, line, sha256, id, share) VALUES (15, 3, '0000000000000000000000000000000000000000000000000000000000000003', 't3', 0.333333333333);
