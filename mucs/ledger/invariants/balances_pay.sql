-- Nobody is paid less than the minimum payout, unless nothing, and the suspense account is never paid.
SELECT statement, rights_holder, paid
FROM balances b JOIN (SELECT sha256 AS statement, (content::JSON)->'header'->'contract' AS terms FROM statements) USING (statement)
WHERE paid < 0
    OR paid > 0 AND (paid < (terms->>'minimum_payout')::DECIMAL(18, 4) OR rights_holder = (terms->>'suspense'))
