-- One row per step in the life of a binding.
CREATE TABLE IF NOT EXISTS registration_changes
(
    company LowCardinality(String),
    aor String CODEC(ZSTD(1)),
    device_id String CODEC(ZSTD(1)),
    timeline LowCardinality(String) COMMENT 'empty: live traffic',
    at DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    change LowCardinality(String),
    ordinal UInt32 COMMENT 'of changes caused by the same message' CODEC(ZSTD(1)),
    contact String CODEC(ZSTD(1)),
    source String COMMENT 'address:port the phone sent from' CODEC(ZSTD(1)),
    user_agent LowCardinality(String),
    app LowCardinality(String),
    app_version LowCardinality(String),
    platform LowCardinality(String),
    endpoint LowCardinality(String),
    instance String CODEC(ZSTD(1)),
    registered_at Nullable(DateTime64(6, 'UTC')) COMMENT 'since when the binding holds' CODEC(ZSTD(1)),
    expires_at Nullable(DateTime64(6, 'UTC')) COMMENT 'null unless bound' CODEC(ZSTD(1)),
    registered Bool COMMENT 'after this change',
    flapping Bool,
    sip_status UInt16 CODEC(ZSTD(1)),
    sip_call_id String CODEC(ZSTD(1)),
    cseq UInt32 CODEC(ZSTD(1)),
    user_id String CODEC(ZSTD(1)),
    user_name String CODEC(ZSTD(1)),
    number String CODEC(ZSTD(1)),
    department_id LowCardinality(String),
    office_id LowCardinality(String),
    contact_center_id LowCardinality(String),
    text String CODEC(ZSTD(1)),
    seq Int64 COMMENT 'the highest wins' CODEC(ZSTD(1)),
    received_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    INDEX user_bloom user_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree(seq)
PARTITION BY toYYYYMM(received_at)
PRIMARY KEY (company, aor, at)
ORDER BY (company, aor, at, device_id, timeline, change, ordinal)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000;

-- The newest change of each binding. Every timeline has its own row, so that
-- an imported capture does not overwrite what is known of live traffic.
CREATE TABLE IF NOT EXISTS registrations
(
    company LowCardinality(String),
    aor String CODEC(ZSTD(1)),
    device_id String CODEC(ZSTD(1)),
    timeline LowCardinality(String) COMMENT 'empty: live traffic',
    at DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    change LowCardinality(String),
    ordinal UInt32 COMMENT 'of changes caused by the same message' CODEC(ZSTD(1)),
    contact String CODEC(ZSTD(1)),
    source String COMMENT 'address:port the phone sent from' CODEC(ZSTD(1)),
    user_agent LowCardinality(String),
    app LowCardinality(String),
    app_version LowCardinality(String),
    platform LowCardinality(String),
    endpoint LowCardinality(String),
    instance String CODEC(ZSTD(1)),
    registered_at Nullable(DateTime64(6, 'UTC')) COMMENT 'since when the binding holds' CODEC(ZSTD(1)),
    expires_at Nullable(DateTime64(6, 'UTC')) COMMENT 'null unless bound' CODEC(ZSTD(1)),
    registered Bool COMMENT 'after this change',
    flapping Bool,
    sip_status UInt16 CODEC(ZSTD(1)),
    sip_call_id String CODEC(ZSTD(1)),
    cseq UInt32 CODEC(ZSTD(1)),
    user_id String CODEC(ZSTD(1)),
    user_name String CODEC(ZSTD(1)),
    number String CODEC(ZSTD(1)),
    department_id LowCardinality(String),
    office_id LowCardinality(String),
    contact_center_id LowCardinality(String),
    text String CODEC(ZSTD(1)),
    seq Int64 COMMENT 'the highest wins' CODEC(ZSTD(1)),
    received_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    INDEX user_bloom user_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree(seq)
ORDER BY (company, aor, device_id, timeline)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000;
