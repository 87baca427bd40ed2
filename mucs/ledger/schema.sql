-- The ledger: what the log says, as tables for questions. It is made of the log's entries alone, in their order, and the same log
-- gives the same rows anywhere. SHA-256 digests are lower-case hexadecimal. There are no keys: applying an entry keeps them.

-- Which log these tables were made of, and up to which entry. One row.
CREATE TABLE ledger (
    schema_version INTEGER NOT NULL,
    log            VARCHAR NOT NULL,           -- a folder, or s3://bucket/prefix
    position       BIGINT  NOT NULL,           -- of the last entry; 0 for none
    head           VARCHAR NOT NULL            -- its SHA-256
);

-- Anything with a content digest that a run used or made: checkpoint, training set, held-out set, calibration, generated batch,
-- noise bank, edges, unseen edges.
CREATE TABLE artifacts (
    artifact_id INTEGER NOT NULL,
    kind        VARCHAR NOT NULL,
    sha256      VARCHAR NOT NULL,
    files       INTEGER NOT NULL,
    bytes       BIGINT  NOT NULL
);

-- One version of one manifest row. row_sha256 is over the row's canonical JSON, and so covers the image and what was said of it, but for
-- the rights holder, whose name can be erased: a row with another one is another version. (Rows of version 1 cover the name as well.)
CREATE TABLE training_items (
    training_id   INTEGER NOT NULL,
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
    generated_id INTEGER NOT NULL,
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
    run_id          INTEGER NOT NULL,
    sha256          VARCHAR NOT NULL,          -- of the run record, which commits to everything below
    method          VARCHAR NOT NULL,
    checkpoint_id   INTEGER NOT NULL,
    training_set_id INTEGER NOT NULL,
    held_out_id     INTEGER,
    calibration_id  INTEGER,
    batch_id        INTEGER NOT NULL,
    settings_sha256 VARCHAR NOT NULL,
    method_sha256   VARCHAR,                   -- of the code that attributed; null where the record does not say it
    location        VARCHAR,                   -- where it was published before there was a log; null since
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
    survivors         INTEGER NOT NULL,        -- those that were measured on the whole noise bank, each of which is an edge
    held_out          INTEGER,                 -- held-out items that were scored beside them, all in full; null where unseen_edges has none
    held_out_ks       DOUBLE,                  -- distance from uniform of held-out p-values against each other; null without held-out items
    tie_p_value       DOUBLE,                  -- of its largest decoy_z, against the largest that decoys have; null without a calibration
    recall            JSON,                    -- share of the exact best K that screening kept, by K; null where not measured
    missed            JSON,                    -- shares of score and excess that lie with who was not measured; null without an index
    best_p_value      DECIMAL(18, 6)           -- smallest of its ten best edges, each taken alone: against decoys where there are such
);

-- Rows lie in (run, generated item, rank) order. Numbers have the decimals that were published; a float of the published Parquet is
-- x::DOUBLE::FLOAT.
CREATE TABLE edges (
    run_id         INTEGER NOT NULL,
    generated_id   INTEGER NOT NULL,
    training_id    INTEGER NOT NULL,
    rank           INTEGER NOT NULL,
    score          DECIMAL(18, 6) NOT NULL,
    standard_error DECIMAL(18, 6),             -- over the noise bank, and over repeats where there are; null with a single noise
    seed_spread    DECIMAL(18, 6),             -- standard deviation over repeats of unlearning; null with one
    p_value        DECIMAL(18, 6),             -- against all held-out items; null where none were given
    decoy_p_value  DECIMAL(18, 6),             -- against its own scores for decoys, rounded up; null without a calibration
    decoy_z        DECIMAL(18, 3)              -- how many standard deviations the score lies above those
);

-- What edges to held-out items would be, had these been candidates: the best 100 of each generated item. The model was never trained on
-- them, so they cannot have caused anything: they are no lineage and are never paid, and tell what a contract would pay for nothing.
-- Numbers are as those of edges, but that p-values are against the other held-out items, and a decoy stands against the others alone.
CREATE TABLE unseen_edges (
    run_id         INTEGER NOT NULL,
    generated_id   INTEGER NOT NULL,
    held_out       VARCHAR NOT NULL,           -- the held-out item's id, and the SHA-256 of its image
    sha256         VARCHAR NOT NULL,
    rank           INTEGER NOT NULL,           -- among the held-out items
    score          DECIMAL(18, 6) NOT NULL,
    standard_error DECIMAL(18, 6),
    seed_spread    DECIMAL(18, 6),
    p_value        DECIMAL(18, 6),
    decoy_p_value  DECIMAL(18, 6),
    decoy_z        DECIMAL(18, 3)
);

CREATE TABLE validations (
    run_id  INTEGER NOT NULL,
    suite   VARCHAR NOT NULL,
    success BOOLEAN NOT NULL,
    sha256  VARCHAR NOT NULL,                  -- of the result's canonical JSON
    result  JSON    NOT NULL
);

-- Which object of the log has the thumbnail of which image; of several, the first that was published.
CREATE TABLE thumbnails (
    image_sha256  VARCHAR NOT NULL,
    object_sha256 VARCHAR NOT NULL
);

-- The log's entries: canonical JSON (RFC 8785), each with the SHA-256 of the entry before it.
CREATE TABLE entries (
    position BIGINT  NOT NULL,
    kind     VARCHAR NOT NULL,
    sha256   VARCHAR NOT NULL,
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
    cap           DECIMAL(7, 6),               -- share of any one generated image that may rest on the holder; null for no bound
    source        VARCHAR,                     -- where it was said, such as a letter or robots.txt; null where the file does not say
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

-- Who changed something through the explorer, or took something out of it.
CREATE TABLE accesses (
    position      BIGINT  NOT NULL,            -- of the chain's entry
    who           VARCHAR NOT NULL,            -- as his token or his proxy names him; of a rights holder, the rights holder
    role          VARCHAR NOT NULL,            -- 'officer', 'analyst', 'viewer' or 'holder'
    what          VARCHAR NOT NULL,            -- of a change, its entry's kind; else 'csv', 'sql', 'document' or 'proof'
    address       VARCHAR,                     -- that was asked for, with its query; this and what follows is null for a change
    as_of         TIMESTAMPTZ,                 -- the time whose knowledge it was answered from; null for now
    answered_from BIGINT,                      -- the position of the log that it was answered from
    sha256        VARCHAR,                     -- of the answer
    recorded_at   TIMESTAMPTZ NOT NULL
);

-- What is provisional: estimates of an index, told before anything was measured. They are no evidence and are never paid, and nothing
-- but the question `provisional` reads them.

-- The indexes that were fitted; of several of one checkpoint, training set, settings and method, the last one is used.
CREATE TABLE indexes (
    position        BIGINT  NOT NULL,          -- of the chain's entry
    sha256          VARCHAR NOT NULL,          -- of the index
    checkpoint      VARCHAR NOT NULL,          -- SHA-256 of what it speaks for, as in the three that follow
    training_set    VARCHAR NOT NULL,
    settings_sha256 VARCHAR NOT NULL,
    method_sha256   VARCHAR NOT NULL,
    pictures        INTEGER NOT NULL,          -- with measured scores, that it was fitted to; 0 for one that goes by likeness alone
    spearman        DOUBLE,                    -- how well it ranks pictures that were left out; null for one that goes by likeness
    recorded_at     TIMESTAMPTZ NOT NULL
);

-- The pictures that an index was asked about.
CREATE TABLE provisional_answers (
    position     BIGINT  NOT NULL,
    index_sha256 VARCHAR NOT NULL,
    row_sha256   VARCHAR NOT NULL,             -- of the picture's manifest row, by which its generated item is found once it is attributed
    generated    VARCHAR NOT NULL,             -- its id
    sha256       VARCHAR NOT NULL,             -- and that of the image
    recorded_at  TIMESTAMPTZ NOT NULL
);

-- And what it said: the training items that are likely behind the picture.
CREATE TABLE provisional_edges (
    position   BIGINT  NOT NULL,
    rank       INTEGER NOT NULL,
    row_sha256 VARCHAR NOT NULL,               -- of the training item's manifest row
    training   VARCHAR NOT NULL,               -- its id
    sha256     VARCHAR NOT NULL,               -- and that of the image
    likeness   DECIMAL(18, 6) NOT NULL,        -- of vectors, in [-1, 1]
    predicted  DECIMAL(18, 6),                 -- the score that it is likely to have; null, as what follows, by likeness alone
    low        DECIMAL(18, 6),                 -- nine of ten pictures that were left out measured between low and high at this rank
    high       DECIMAL(18, 6),
    among_best DECIMAL(18, 6)                  -- the share of them for which the item at this rank was among the best measured
);

-- Royalties. What is stated is kept as the canonical JSON that its SHA-256 is over; these tables and the views spell it out.

-- The usage of generated items in a period, as it was reported.
CREATE TABLE usage_reports (
    position    BIGINT  NOT NULL,              -- of the chain's entry that brought it, as in all that follow
    sha256      VARCHAR NOT NULL,              -- of the content
    content     VARCHAR NOT NULL,              -- one object a row, sorted
    recorded_at TIMESTAMPTZ NOT NULL
);

-- Statements; of several of one contract and period, the one with the highest version counts.
CREATE TABLE statements (
    position     BIGINT  NOT NULL,
    sha256       VARCHAR NOT NULL,             -- of what was said, and so the statement's name
    contract     VARCHAR NOT NULL,
    period_start DATE    NOT NULL,
    period_end   DATE    NOT NULL,             -- the first day that is not in it
    version      INTEGER NOT NULL,
    supersedes   VARCHAR,                      -- the SHA-256 of the version before
    currency     VARCHAR NOT NULL,             -- of all its amounts, as ISO 4217 names it
    said         VARCHAR NOT NULL,             -- the content as the log has it, with pseudonyms of the holders
    content      VARCHAR NOT NULL,             -- header, lines, balances, adjustments, with their names
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
