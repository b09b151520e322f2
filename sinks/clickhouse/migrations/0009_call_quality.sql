-- Ended calls with a final verdict, as few bytes as trends of quality need: what a
-- call is grouped by and its figures. A call is named by a hash and stands by the day
-- it began on, both of which its later versions share: they replace its row. The start
-- of a call is never corrected to a later time; where it is to an earlier day, the
-- later version has a deleted row at each day after, up to that of its verdict. So every
-- call is counted once, and every version of it is in one partition, which FINAL can
-- read on its own.
CREATE TABLE IF NOT EXISTS call_quality
(
    company LowCardinality(String),
    day Date COMMENT 'UTC, of the start' CODEC(Delta(2), ZSTD(1)),
    call UInt64 COMMENT 'xxHash64(call_id)' CODEC(ZSTD(1)),
    started_at DateTime('UTC') CODEC(ZSTD(1)),
    direction LowCardinality(String) COMMENT 'inbound, outbound, internal' CODEC(ZSTD(1)),
    user_id String COMMENT 'of the target, as all that follow' CODEC(ZSTD(1)),
    office_id LowCardinality(String) CODEC(ZSTD(1)),
    department_id LowCardinality(String) CODEC(ZSTD(1)),
    contact_center_id LowCardinality(String) CODEC(ZSTD(1)),
    app_version LowCardinality(String) CODEC(ZSTD(1)),
    platform LowCardinality(String) CODEC(ZSTD(1)),
    endpoint LowCardinality(String) CODEC(ZSTD(1)),
    network LowCardinality(String) CODEC(ZSTD(1)),
    overall LowCardinality(String) CODEC(ZSTD(1)),
    one_way Bool COMMENT 'confirmed or suspected' CODEC(ZSTD(1)),
    rtt_ms Nullable(Float32) COMMENT 'the median of the call' CODEC(ZSTD(1)),
    jitter_ms Nullable(Float32) COMMENT 'the 95th percentile of the call' CODEC(ZSTD(1)),
    loss_percent Nullable(Float32) COMMENT 'of the call' CODEC(ZSTD(1)),
    mos Nullable(Float32) COMMENT 'the average of the call' CODEC(ZSTD(1)),
    deleted UInt8 COMMENT '1: the call is not of this day' CODEC(ZSTD(1)),
    seq Int64 COMMENT 'the highest wins' CODEC(ZSTD(1)),
    received_at Date CODEC(Delta(2), ZSTD(1))
)
ENGINE = ReplacingMergeTree(seq, deleted)
PARTITION BY toYYYYMM(day)
ORDER BY (company, day, call)
-- A month that is over becomes one part, of which FINAL has nothing to merge.
SETTINGS min_age_to_force_merge_seconds = 86400, min_age_to_force_merge_on_partition_only = 1, non_replicated_deduplication_window = 10000;

-- The calls that are stored already. To run this again gives the same rows, which
-- replace one another.
INSERT INTO call_quality (company, day, call, started_at, direction, user_id, office_id, department_id, contact_center_id, app_version, platform, endpoint, network,
    overall, one_way, rtt_ms, jitter_ms, loss_percent, mos, deleted, seq, received_at)
SELECT c.company, toDate(c.started_at), xxHash64(c.call_id), toDateTime(c.started_at), c.direction, c.target_user_id, c.target_office_id, c.target_department_id,
    c.target_contact_center_id, c.target_app_version, c.target_platform, c.target_endpoint, n.id,
    c.overall, c.one_way_state IN ('suspected', 'confirmed'), c.rtt_ms_p50, c.jitter_ms_p95, c.loss_percent, c.mos_avg, 0, c.seq, toDate(c.received_at)
FROM calls AS c FINAL
LEFT ANY JOIN (SELECT company, call_id, id FROM call_figures WHERE kind = 'network') AS n ON n.company = c.company AND n.call_id = c.call_id
WHERE c.state = 'ended' AND c.final
SETTINGS max_partitions_per_insert_block = 0, join_algorithm = 'grace_hash', max_bytes_in_join = 268435456;

-- Refusals in order of time, for lists and trends. What more becomes known of one
-- later has the same time and id and replaces its row.
CREATE TABLE IF NOT EXISTS rejection_times
(
    company LowCardinality(String),
    at DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    call_id String CODEC(ZSTD(1)),
    id String CODEC(ZSTD(1)),
    timeline LowCardinality(String),
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
    seq Int64 COMMENT 'the highest wins' CODEC(ZSTD(1)),
    received_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(seq)
PARTITION BY toYYYYMM(at)
ORDER BY (company, at, call_id, id)
SETTINGS index_granularity = 1024, min_age_to_force_merge_seconds = 86400, min_age_to_force_merge_on_partition_only = 1, non_replicated_deduplication_window = 10000;

INSERT INTO rejection_times (company, at, call_id, id, timeline, reason, agent_user_id, agent_name, agent_number, department_id, office_id, contact_center_id,
    leg_id, sip_status, raw_reason, text, from_number, to_number, source, seq, received_at)
SELECT company, at, call_id, id, timeline, reason, agent_user_id, agent_name, agent_number, department_id, office_id, contact_center_id,
    leg_id, sip_status, raw_reason, text, from_number, to_number, source, seq, received_at
FROM rejections
SETTINGS max_partitions_per_insert_block = 0;
