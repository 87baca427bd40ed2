-- Recorded times never fall along the chain.
SELECT position, (entry->>'at')::TIMESTAMPTZ AS recorded
FROM entries
QUALIFY recorded < lag(recorded) OVER (ORDER BY position)
