-- Calls by what they are looked for with, in order of time: one row per call and
-- key. Every lookup is one short range of it, however many calls there are. A later
-- version of a call has the same keys and replaces its rows; one whose start, party
-- or verdict was corrected leaves the old row behind, as in call_times; readers
-- check what they find here against calls. Rows of rejected and rating stand at the
-- time of the refusal or rating, for that is all that is known where they arise.
-- received_at lets retention drop a row with its call.
CREATE TABLE IF NOT EXISTS call_keys
(
    company LowCardinality(String),
    kind LowCardinality(String) COMMENT 'user, number, number_reversed, device, address, id, verdict; rejected, rating',
    key String COMMENT 'of number the text without +; of address the IP address; of id a SIP Call-ID or leg' CODEC(ZSTD(1)),
    started_at DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    call_id String CODEC(ZSTD(1)),
    timeline LowCardinality(String) COMMENT 'empty: live traffic',
    state LowCardinality(String),
    direction LowCardinality(String),
    overall LowCardinality(String),
    delay_band LowCardinality(String),
    jitter_band LowCardinality(String),
    loss_band LowCardinality(String),
    one_way_state LowCardinality(String),
    seq Int64 COMMENT 'the highest wins' CODEC(ZSTD(1)),
    received_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(seq)
PARTITION BY toYYYYMM(received_at)
ORDER BY (company, kind, key, started_at, call_id)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000;

-- The calls that are stored already, by what their columns tell. Addresses are only
-- in body, which SQL cannot read: calls of before are not found by them. To run this
-- again gives the same rows, which replace one another.
INSERT INTO call_keys (company, kind, key, started_at, call_id, timeline, state, direction, overall, delay_band, jitter_band, loss_band, one_way_state, seq, received_at)
SELECT company, pair.1, pair.2, started_at, call_id, timeline, state, direction, overall, delay_band, jitter_band, loss_band, one_way_state, seq, received_at
FROM calls
ARRAY JOIN arrayDistinct(arrayFilter(p -> p.2 != '', arrayConcat(
    [('user', target_user_id), ('user', contact_user_id),
     ('number', trim(LEADING '+' FROM target_number)), ('number', trim(LEADING '+' FROM contact_number)),
     ('number_reversed', reverse(trim(LEADING '+' FROM target_number))), ('number_reversed', reverse(trim(LEADING '+' FROM contact_number))),
     ('verdict', if(overall = 'good', '', overall)),
     ('verdict', if(one_way_state IN ('suspected', 'confirmed'), 'one_way', '')),
     ('verdict', if(jitter_band IN ('bad', 'unacceptable'), 'choppy', '')),
     ('verdict', if(delay_band IN ('bad', 'unacceptable'), 'delay', '')),
     ('verdict', if(loss_band IN ('bad', 'unacceptable'), 'loss', ''))],
    arrayMap(d -> ('device', d), device_ids),
    arrayMap(i -> ('id', i), arrayFilter(i -> i != call_id, sip_call_ids)),
    arrayMap(i -> ('id', i), arrayFilter(i -> i != call_id AND NOT match(i, '^calle[re](-[0-9]+)?$'), leg_ids))))) AS pair;

INSERT INTO call_keys (company, kind, key, started_at, call_id, timeline, seq, received_at)
SELECT company, 'rejected', '', at, call_id, timeline, seq, received_at FROM rejections;

INSERT INTO call_keys (company, kind, key, started_at, call_id, timeline, seq, received_at)
SELECT company, 'rating', toString(rating), at, call_id, timeline, seq, received_at FROM ratings;

-- What read these indexes asks call_keys now; they had to be read whole, and grew.
ALTER TABLE calls
    DROP INDEX IF EXISTS sip_call_ids_bloom,
    DROP INDEX IF EXISTS leg_ids_bloom,
    DROP INDEX IF EXISTS device_ids_bloom;

ALTER TABLE call_times
    DROP INDEX IF EXISTS target_user_bloom,
    DROP INDEX IF EXISTS contact_user_bloom,
    DROP INDEX IF EXISTS target_number_bloom,
    DROP INDEX IF EXISTS contact_number_bloom;
