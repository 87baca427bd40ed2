-- A line's net is its gross less its deductions exactly, and nothing of it is negative.
SELECT position, right_type, rights_holder, gross, deducted, net
FROM said_lines
WHERE net <> gross - deducted OR least(gross, net, share) < 0
    OR deducted <> coalesce(list_sum(map_values(deductions)), 0) OR coalesce(list_min(map_values(deductions)), 0) < 0
