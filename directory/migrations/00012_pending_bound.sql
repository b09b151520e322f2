-- +goose Up

-- How many deliveries of a subscription do not count towards the bound on those
-- that wait: the fewest that were pending since it was switched on, or its address
-- changed, the last time.
ALTER TABLE webhook_endpoint ADD COLUMN spared BIGINT NOT NULL DEFAULT 0;
UPDATE webhook_endpoint SET spared = pending;
