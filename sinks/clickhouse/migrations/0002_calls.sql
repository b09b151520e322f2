-- The newest version of each call: columns to filter and to sum up, and body,
-- the protobuf earshot.telemetry.v1.Call with everything.
CREATE TABLE IF NOT EXISTS calls
(
    company LowCardinality(String),
    call_id String CODEC(ZSTD(1)),
    timeline LowCardinality(String) COMMENT 'empty: live traffic',
    state LowCardinality(String) COMMENT 'live, ended',
    direction LowCardinality(String) COMMENT 'inbound, outbound, internal',
    started_at DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    connected_at Nullable(DateTime64(6, 'UTC')) CODEC(ZSTD(1)),
    ended_at Nullable(DateTime64(6, 'UTC')) CODEC(ZSTD(1)),
    target_user_id String CODEC(ZSTD(1)),
    target_name String CODEC(ZSTD(1)),
    target_number String CODEC(ZSTD(1)),
    target_device_id String CODEC(ZSTD(1)),
    target_endpoint LowCardinality(String),
    target_app_version LowCardinality(String),
    target_platform LowCardinality(String),
    target_department_id LowCardinality(String),
    target_office_id LowCardinality(String),
    target_contact_center_id LowCardinality(String),
    contact_user_id String CODEC(ZSTD(1)),
    contact_name String CODEC(ZSTD(1)),
    contact_number String CODEC(ZSTD(1)),
    contact_device_id String CODEC(ZSTD(1)),
    end_by LowCardinality(String),
    end_sip_status UInt16 CODEC(ZSTD(1)),
    overall LowCardinality(String),
    final Bool,
    version UInt32 CODEC(ZSTD(1)),
    rules LowCardinality(String),
    delay_band LowCardinality(String),
    jitter_band LowCardinality(String),
    loss_band LowCardinality(String),
    one_way_state LowCardinality(String),
    one_way_direction LowCardinality(String),
    fault_side LowCardinality(String),
    rtt_ms_p50 Nullable(Float32) CODEC(ZSTD(1)),
    rtt_ms_p95 Nullable(Float32) CODEC(ZSTD(1)),
    rtt_ms_max Nullable(Float32) CODEC(ZSTD(1)),
    jitter_ms_p95 Nullable(Float32) CODEC(ZSTD(1)),
    loss_percent Nullable(Float32) CODEC(ZSTD(1)),
    mos_min Nullable(Float32) CODEC(ZSTD(1)),
    mos_avg Nullable(Float32) CODEC(ZSTD(1)),
    sip_call_ids Array(String) CODEC(ZSTD(1)),
    leg_ids Array(String) CODEC(ZSTD(1)),
    device_ids Array(String) CODEC(ZSTD(1)),
    body String CODEC(ZSTD(3)),
    seq Int64 COMMENT 'the highest wins' CODEC(ZSTD(1)),
    received_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    INDEX sip_call_ids_bloom sip_call_ids TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX leg_ids_bloom leg_ids TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX device_ids_bloom device_ids TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX started_at_minmax started_at TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(seq)
PARTITION BY toYYYYMM(received_at)
ORDER BY (company, call_id)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000;

-- Calls in order of time, for lists. A call whose start was corrected leaves
-- its old row behind; readers check what they find here against calls.
CREATE TABLE IF NOT EXISTS call_times
(
    company LowCardinality(String),
    started_at DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    call_id String CODEC(ZSTD(1)),
    timeline LowCardinality(String),
    state LowCardinality(String),
    direction LowCardinality(String),
    target_user_id String CODEC(ZSTD(1)),
    target_number String CODEC(ZSTD(1)),
    contact_user_id String CODEC(ZSTD(1)),
    contact_number String CODEC(ZSTD(1)),
    overall LowCardinality(String),
    delay_band LowCardinality(String),
    jitter_band LowCardinality(String),
    loss_band LowCardinality(String),
    one_way_state LowCardinality(String),
    seq Int64 CODEC(ZSTD(1)),
    received_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    INDEX target_user_bloom target_user_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX contact_user_bloom contact_user_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX target_number_bloom target_number TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX contact_number_bloom contact_number TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree(seq)
PARTITION BY toYYYYMM(received_at)
ORDER BY (company, started_at, call_id)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000;

-- One row per refused leg.
CREATE TABLE IF NOT EXISTS rejections
(
    company LowCardinality(String),
    call_id String CODEC(ZSTD(1)),
    id String CODEC(ZSTD(1)),
    timeline LowCardinality(String),
    at DateTime64(6, 'UTC') CODEC(ZSTD(1)),
    reason LowCardinality(String),
    agent_user_id String CODEC(ZSTD(1)),
    agent_name String CODEC(ZSTD(1)),
    agent_number String CODEC(ZSTD(1)),
    department_id LowCardinality(String),
    office_id LowCardinality(String),
    contact_center_id LowCardinality(String),
    leg_id String CODEC(ZSTD(1)),
    sip_status UInt16 CODEC(ZSTD(1)),
    raw_reason String CODEC(ZSTD(1)),
    text String CODEC(ZSTD(1)),
    from_number String CODEC(ZSTD(1)),
    to_number String CODEC(ZSTD(1)),
    source LowCardinality(String),
    seq Int64 CODEC(ZSTD(1)),
    received_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    INDEX at_minmax at TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(seq)
PARTITION BY toYYYYMM(received_at)
ORDER BY (company, call_id, id)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000;

-- One row per rating of a call.
CREATE TABLE IF NOT EXISTS ratings
(
    company LowCardinality(String),
    call_id String CODEC(ZSTD(1)),
    id String CODEC(ZSTD(1)),
    timeline LowCardinality(String),
    at DateTime64(6, 'UTC') CODEC(ZSTD(1)),
    user_id String CODEC(ZSTD(1)),
    name String CODEC(ZSTD(1)),
    rating UInt8,
    text String CODEC(ZSTD(1)),
    seq Int64 CODEC(ZSTD(1)),
    received_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(seq)
PARTITION BY toYYYYMM(received_at)
ORDER BY (company, call_id, id)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000;
