-- Brings `latest` of topic ?1 forward over the events after ?2 up to and with ?3, as if none of
-- them were invalidated: the newest version of each key, in order of key.
INSERT INTO latest (topic, key, newest, standing)
SELECT ?1, key, max(seq), max(seq)
FROM event
WHERE topic = ?1 AND seq > ?2 AND seq <= ?3 AND key IS NOT NULL
GROUP BY key
ORDER BY key
ON CONFLICT (topic, key) DO UPDATE SET newest = excluded.newest, standing = excluded.newest
