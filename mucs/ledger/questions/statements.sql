-- Which statements were issued, and which of them holds? current: no later version supersedes it.
-- $as_of time = infinity: answer from what the ledger knew then.
WITH paid AS (
    SELECT statement, sum(paid) AS paid, sum(carried_out) AS carried_out, count(*) AS holders FROM balances GROUP BY statement
)
SELECT
    s.sha256 AS statement, s.contract, strftime(s.period_start, '%Y-%m') AS period, s.version,
    s.version = max(s.version) OVER (PARTITION BY s.contract, s.period_start) AS current,
    p.holders, p.paid, p.carried_out, s.currency, s.issued_at, s.supersedes
FROM statements s LEFT JOIN paid p ON p.statement = s.sha256
WHERE s.issued_at <= $as_of::TIMESTAMPTZ
ORDER BY s.position DESC;
