-- The ledger: every run with its inputs, edges and validations, and the chain of entries that commits to them.
-- Append-only: nothing here is updated or deleted. SHA-256 digests are lower-case hexadecimal.

CREATE TABLE ledger (schema_version INTEGER NOT NULL);
INSERT INTO ledger VALUES (1);

-- Anything with a content digest that a run used or made: checkpoint, training set, held-out set, generated batch, noise bank, edges.
CREATE TABLE artifacts (
    artifact_id INTEGER PRIMARY KEY,
    kind        VARCHAR NOT NULL,
    sha256      VARCHAR NOT NULL,
    files       INTEGER NOT NULL,
    bytes       BIGINT  NOT NULL,
    UNIQUE (kind, sha256)
);

-- One version of one manifest row. row_sha256 is over the row's canonical JSON, and so covers the image and what was said of it.
CREATE TABLE training_items (
    training_id   INTEGER PRIMARY KEY,
    row_sha256    VARCHAR NOT NULL UNIQUE,
    id            VARCHAR NOT NULL,
    sha256        VARCHAR NOT NULL,
    rights_holder VARCHAR NOT NULL,
    licence       VARCHAR NOT NULL,
    date          DATE    NOT NULL,
    manifest_row  JSON    NOT NULL
);

CREATE TABLE generated_items (
    generated_id INTEGER PRIMARY KEY,
    row_sha256   VARCHAR NOT NULL UNIQUE,
    id           VARCHAR NOT NULL,
    sha256       VARCHAR NOT NULL,
    manifest_row JSON    NOT NULL
);

CREATE TABLE runs (
    run_id          INTEGER PRIMARY KEY,
    sha256          VARCHAR NOT NULL UNIQUE,   -- of the run record, which commits to everything below
    checkpoint_id   INTEGER NOT NULL,
    training_set_id INTEGER NOT NULL,
    held_out_id     INTEGER,
    batch_id        INTEGER NOT NULL,
    settings_sha256 VARCHAR NOT NULL,
    location        VARCHAR NOT NULL,          -- where the evidence was published
    loaded_at       TIMESTAMPTZ NOT NULL,
    record          JSON    NOT NULL
);

-- The outcome of unlearning one generated item in one run.
CREATE TABLE attributions (
    run_id       INTEGER NOT NULL,
    generated_id INTEGER NOT NULL,
    converged    BOOLEAN NOT NULL,
    steps        INTEGER NOT NULL,
    null_loss    DOUBLE  NOT NULL,
    forget_loss  DOUBLE  NOT NULL,
    retain_loss  DOUBLE  NOT NULL,
    candidates   INTEGER NOT NULL,             -- training items in the race
    survivors    INTEGER NOT NULL              -- those that screening left, each of which is an edge
);

-- No key and no index: uniqueness is checked when a run is loaded, and rows lie in (run, generated item, rank) order.
CREATE TABLE edges (
    run_id         INTEGER NOT NULL,
    generated_id   INTEGER NOT NULL,
    training_id    INTEGER NOT NULL,
    rank           INTEGER NOT NULL,
    score          FLOAT   NOT NULL,
    standard_error FLOAT,
    p_value        DOUBLE                      -- against held-out look-alikes; null where none were given
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

-- Which run speaks for a generated item: the latest loaded one.
CREATE VIEW speaking AS
SELECT generated_id, max(run_id) AS run_id FROM attributions GROUP BY generated_id;

-- The edges to read: those of the runs that speak, with names.
CREATE VIEW lineage AS
SELECT
    g.id AS generated, t.id AS training, e.rank, e.score, e.standard_error, e.p_value,
    t.rights_holder, t.licence, t.date, a.converged, r.sha256 AS run,
    g.sha256 AS generated_sha256, t.sha256 AS training_sha256, t.manifest_row
FROM edges e
JOIN speaking s USING (run_id, generated_id)
JOIN attributions a USING (run_id, generated_id)
JOIN runs r USING (run_id)
JOIN generated_items g USING (generated_id)
JOIN training_items t USING (training_id);
