-- One row per point on a call's graphs. This is the big table: its order is
-- that of the one question asked of it, and a granule is small so that one
-- call costs little. Float32 holds what RTCP and getStats can resolve.
CREATE TABLE IF NOT EXISTS samples
(
    company LowCardinality(String),
    call_id String CODEC(ZSTD(1)),
    timeline LowCardinality(String) COMMENT 'empty: live traffic',
    at DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    leg_id String CODEC(ZSTD(1)),
    direction LowCardinality(String) COMMENT 'target_to_contact, contact_to_target',
    source LowCardinality(String) COMMENT 'webrtc, rtcp, rtp, rtcp_xr, vq_rtcpxr',
    side LowCardinality(String) COMMENT 'the witness: target, contact, server',
    ssrc UInt32 CODEC(ZSTD(1)),
    codec LowCardinality(String),
    clock_rate UInt32 COMMENT 'Hz, 0 unknown' CODEC(ZSTD(1)),
    rtt_ms Nullable(Float32) CODEC(ZSTD(1)),
    jitter_ms Nullable(Float32) CODEC(ZSTD(1)),
    loss_percent Nullable(Float32) COMMENT 'of the interval' CODEC(ZSTD(1)),
    packets Nullable(UInt32) COMMENT 'of the interval' CODEC(ZSTD(1)),
    packets_lost Nullable(Int32) CODEC(ZSTD(1)),
    packets_discarded Nullable(UInt32) CODEC(ZSTD(1)),
    jitter_buffer_ms Nullable(Float32) CODEC(ZSTD(1)),
    jitter_buffer_preferred_ms Nullable(Float32) CODEC(ZSTD(1)),
    concealment_percent Nullable(Float32) CODEC(ZSTD(1)),
    silent_concealment_percent Nullable(Float32) CODEC(ZSTD(1)),
    audio_level Nullable(Float32) COMMENT 'RMS, 0 to 1' CODEC(ZSTD(1)),
    mos Nullable(Float32) CODEC(ZSTD(1)),
    seq Int64 COMMENT 'the highest wins' CODEC(Delta(8), ZSTD(1)),
    received_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(seq)
PARTITION BY toMonday(received_at)
PRIMARY KEY (company, call_id, timeline, at)
ORDER BY (company, call_id, timeline, at, leg_id, direction, source, side, ssrc)
SETTINGS index_granularity = 1024,
    min_compress_block_size = 16384,
    max_compress_block_size = 65536,
    ttl_only_drop_parts = 1,
    non_replicated_deduplication_window = 10000;

-- One row per SIP message: the ladder.
CREATE TABLE IF NOT EXISTS messages
(
    company LowCardinality(String),
    call_id String CODEC(ZSTD(1)),
    timeline LowCardinality(String),
    at DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    src String COMMENT 'address:port' CODEC(ZSTD(1)),
    dst String CODEC(ZSTD(1)),
    transport LowCardinality(String),
    method LowCardinality(String) COMMENT 'of a response: that of CSeq',
    status UInt16 COMMENT '0 in a request' CODEC(ZSTD(1)),
    reason_phrase LowCardinality(String),
    cseq UInt32 CODEC(ZSTD(1)),
    sip_call_id String CODEC(ZSTD(1)),
    request_uri String CODEC(ZSTD(1)),
    has_sdp Bool,
    agent LowCardinality(String) COMMENT 'who reported it',
    raw String CODEC(ZSTD(3)),
    seq Int64 CODEC(Delta(8), ZSTD(1)),
    received_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(seq)
PARTITION BY toMonday(received_at)
PRIMARY KEY (company, call_id, timeline, at)
ORDER BY (company, call_id, timeline, at, src, dst, cseq, method, status)
SETTINGS index_granularity = 1024,
    min_compress_block_size = 16384,
    max_compress_block_size = 65536,
    ttl_only_drop_parts = 1,
    non_replicated_deduplication_window = 10000;
