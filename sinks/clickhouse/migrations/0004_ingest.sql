-- What ingesters received and what became of it: one row per counter, agent and
-- interval of some seconds. The counts are of the interval, so that they add up.
CREATE TABLE IF NOT EXISTS ingest_counts
(
    company LowCardinality(String),
    listener LowCardinality(String),
    agent LowCardinality(String),
    instance LowCardinality(String) COMMENT 'the ingester and its start',
    at DateTime64(6, 'UTC') COMMENT 'end of the interval' CODEC(Delta(8), ZSTD(1)),
    outcome LowCardinality(String) COMMENT 'received, produced, rejected, dropped, kernel_dropped',
    reason LowCardinality(String) COMMENT 'of rejected and dropped',
    count UInt64 CODEC(ZSTD(1)),
    seq Int64 CODEC(Delta(8), ZSTD(1)),
    received_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(seq)
PARTITION BY toYYYYMM(received_at)
ORDER BY (company, at, listener, agent, instance, outcome, reason)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000;
