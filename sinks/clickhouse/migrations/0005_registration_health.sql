-- Why a binding changed, and since when credentials are refused: with them the
-- newest row of a binding says how its device fares.
ALTER TABLE registration_changes
    ADD COLUMN IF NOT EXISTS reason LowCardinality(String) COMMENT 'why, in a word: silence, refused, no_answer, device' AFTER text,
    ADD COLUMN IF NOT EXISTS failing_since Nullable(DateTime64(6, 'UTC')) COMMENT 'the first of the refusals of credentials that go on' CODEC(ZSTD(1)) AFTER reason;

ALTER TABLE registrations
    ADD COLUMN IF NOT EXISTS reason LowCardinality(String) COMMENT 'why, in a word: silence, refused, no_answer, device' AFTER text,
    ADD COLUMN IF NOT EXISTS failing_since Nullable(DateTime64(6, 'UTC')) COMMENT 'the first of the refusals of credentials that go on' CODEC(ZSTD(1)) AFTER reason;
