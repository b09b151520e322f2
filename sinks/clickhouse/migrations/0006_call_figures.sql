-- The figures of ended calls by whom and what they are compared with: one row per
-- call and kind (user, office, network, app_version), in order of time, so that
-- what is usual for one of them is a short read. A later version of a call has the
-- same key and replaces its row; one whose start or party was corrected after its
-- final verdict leaves the old row, one among the many that a median is taken of.
CREATE TABLE IF NOT EXISTS call_figures
(
    company LowCardinality(String),
    kind LowCardinality(String) COMMENT 'user, office, network, app_version',
    id String CODEC(ZSTD(1)),
    started_at DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    call_id String CODEC(ZSTD(1)),
    user_id String COMMENT 'the target' CODEC(ZSTD(1)),
    rtt_ms_p50 Nullable(Float32) CODEC(ZSTD(1)),
    rtt_ms_p95 Nullable(Float32) CODEC(ZSTD(1)),
    jitter_ms_p95 Nullable(Float32) CODEC(ZSTD(1)),
    loss_percent Nullable(Float32) CODEC(ZSTD(1)),
    mos_avg Nullable(Float32) CODEC(ZSTD(1)),
    seq Int64 COMMENT 'the highest wins' CODEC(ZSTD(1)),
    received_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(seq)
PARTITION BY toYYYYMM(received_at)
ORDER BY (company, kind, id, started_at, call_id)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000;
