-- What an account carries out is what it carried in, with the difference and the adjustments, less what is paid.
SELECT statement, rights_holder, carried_in, difference, adjustments, paid, carried_out
FROM balances
WHERE carried_out <> carried_in + difference + adjustments - paid
