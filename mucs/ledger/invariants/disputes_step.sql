-- A dispute is opened on a statement that is there, and then goes under review, and then is upheld with an amount or rejected.
SELECT position, dispute, state, amount
FROM (
    SELECT *, coalesce(lag(state) OVER (PARTITION BY dispute ORDER BY position), '') || ' > ' || state AS step FROM dispute_steps
)
WHERE step NOT IN (' > open', 'open > under review', 'under review > upheld', 'under review > rejected')
    OR (state = 'upheld') <> (amount IS NOT NULL) OR amount <= 0
    OR statement NOT IN (SELECT sha256 FROM statements)
