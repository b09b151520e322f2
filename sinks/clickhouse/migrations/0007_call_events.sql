-- What happened in a call, an event per row: columns to filter by, and body, the
-- protobuf earshot.telemetry.v1.CallMoment with everything. A refusal of which more
-- is known later has the same key and replaces its row.
CREATE TABLE IF NOT EXISTS call_events
(
    company LowCardinality(String),
    call_id String CODEC(ZSTD(1)),
    at DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    id String CODEC(ZSTD(1)),
    timeline LowCardinality(String) COMMENT 'empty: live traffic',
    type LowCardinality(String) COMMENT 'started, ringing, connected, held, resumed, muted, unmuted, transferred, ended, rejected, rated, recording_changed, verdict',
    reason LowCardinality(String) COMMENT 'of rejected',
    agent_user_id String COMMENT 'who did it' CODEC(ZSTD(1)),
    user_ids Array(String) COMMENT 'of target, contact and agent, as all below' CODEC(ZSTD(1)),
    office_ids Array(String) CODEC(ZSTD(1)),
    department_ids Array(String) CODEC(ZSTD(1)),
    contact_center_ids Array(String) CODEC(ZSTD(1)),
    body String CODEC(ZSTD(3)),
    seq Int64 COMMENT 'the highest wins' CODEC(ZSTD(1)),
    received_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(seq)
PARTITION BY toYYYYMM(received_at)
ORDER BY (company, call_id, at, id)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000;

-- The same in order of time, for lists.
CREATE TABLE IF NOT EXISTS call_event_times
(
    company LowCardinality(String),
    at DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    call_id String CODEC(ZSTD(1)),
    id String CODEC(ZSTD(1)),
    timeline LowCardinality(String) COMMENT 'empty: live traffic',
    type LowCardinality(String) COMMENT 'started, ringing, connected, held, resumed, muted, unmuted, transferred, ended, rejected, rated, recording_changed, verdict',
    reason LowCardinality(String) COMMENT 'of rejected',
    agent_user_id String COMMENT 'who did it' CODEC(ZSTD(1)),
    user_ids Array(String) COMMENT 'of target, contact and agent, as all below' CODEC(ZSTD(1)),
    office_ids Array(String) CODEC(ZSTD(1)),
    department_ids Array(String) CODEC(ZSTD(1)),
    contact_center_ids Array(String) CODEC(ZSTD(1)),
    body String CODEC(ZSTD(3)),
    seq Int64 COMMENT 'the highest wins' CODEC(ZSTD(1)),
    received_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    INDEX user_ids_bloom user_ids TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree(seq)
PARTITION BY toYYYYMM(received_at)
ORDER BY (company, at, call_id, id)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000;
