-- Which disputes are there, and how do they stand? amount: what is owed besides, where one was upheld.
-- $as_of time = infinity: answer from what the ledger knew then.
SELECT
    d.dispute, d.rights_holder, d.state, d.reason, d.amount, s.currency, d.statement, s.contract, strftime(s.period_start, '%Y-%m') AS period,
    min(d.recorded_at) OVER (PARTITION BY d.dispute) AS opened_at, d.recorded_at AS changed_at
FROM dispute_steps d JOIN statements s ON s.sha256 = d.statement
WHERE d.recorded_at <= $as_of::TIMESTAMPTZ
QUALIFY row_number() OVER (PARTITION BY d.dispute ORDER BY d.position DESC) = 1
ORDER BY d.dispute DESC;
