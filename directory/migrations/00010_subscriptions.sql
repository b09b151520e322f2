-- Who is told of what by webhook, and what is still to be delivered.

-- +goose Up

CREATE TABLE subscription (
	id              TEXT   NOT NULL PRIMARY KEY,
	company         TEXT   NOT NULL REFERENCES company (id),
	url             TEXT   NOT NULL,
	-- company (target_id ''), office, department, contact_center or user.
	target_kind     TEXT   NOT NULL CHECK (target_kind IN ('company', 'office', 'department', 'contact_center', 'user')),
	target_id       TEXT   NOT NULL,
	-- Types with spaces between, or *.
	types           TEXT   NOT NULL,
	description     TEXT   NOT NULL,
	enabled         BIGINT NOT NULL,
	-- Why it is not, in words.
	disabled_reason TEXT   NOT NULL DEFAULT '',
	-- whsec_…: signing needs it as it is.
	secret          TEXT   NOT NULL,
	old_secret      TEXT   NOT NULL DEFAULT '',
	old_until_us    BIGINT NOT NULL DEFAULT 0,
	created_us      BIGINT NOT NULL,
	updated_us      BIGINT NOT NULL,
	-- A deleted one is hidden, and gone when its deliveries are.
	deleted_us      BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX subscription_by_company ON subscription (company, created_us, id);
CREATE INDEX subscription_by_target ON subscription (company, target_kind, target_id);

-- What changes with deliveries, apart from what people change. Whoever adds or
-- finishes deliveries of a subscription updates its row here first, which makes
-- them take turns.
CREATE TABLE webhook_endpoint (
	subscription     TEXT   NOT NULL PRIMARY KEY,
	-- The seq of the newest delivery.
	last_seq         BIGINT NOT NULL DEFAULT 0,
	-- Deliveries in state pending.
	pending          BIGINT NOT NULL DEFAULT 0,
	-- Nothing of it is due before.
	due_us           BIGINT NOT NULL,
	-- Nothing is sent to it before, whatever is due: it fails, or asked for time.
	hold_us          BIGINT NOT NULL DEFAULT 0,
	-- When its address or secret changed: a failure of the old one says nothing.
	changed_us       BIGINT NOT NULL,
	-- Attempts that failed one after the other, since when, and the last words.
	failures         BIGINT NOT NULL DEFAULT 0,
	failing_since_us BIGINT NOT NULL DEFAULT 0,
	last_error       TEXT   NOT NULL DEFAULT '',
	last_success_us  BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX webhook_endpoint_by_due ON webhook_endpoint (due_us);

CREATE TABLE webhook_delivery (
	subscription  TEXT   NOT NULL,
	-- In the order in which the subscription's events came.
	seq           BIGINT NOT NULL,
	event_id      TEXT   NOT NULL,
	type          TEXT   NOT NULL,
	call_id       TEXT   NOT NULL,
	body          TEXT   NOT NULL,
	state         TEXT   NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
	-- Of a pending one, when it is to be sent; the greatest BIGINT while an
	-- earlier one of its call is pending.
	next_us       BIGINT NOT NULL,
	attempt_count BIGINT NOT NULL DEFAULT 0,
	-- Attempts since it became pending, and when the first of them was.
	tries         BIGINT NOT NULL DEFAULT 0,
	first_us      BIGINT NOT NULL DEFAULT 0,
	-- The last of them: [{"at_us","status","error","took_ms"}], or ''.
	attempts      TEXT   NOT NULL DEFAULT '',
	created_us    BIGINT NOT NULL,
	delivered_us  BIGINT NOT NULL DEFAULT 0,
	-- Of one that is done, when it is forgotten.
	forget_us     BIGINT NOT NULL DEFAULT 0,
	PRIMARY KEY (subscription, seq)
);
CREATE UNIQUE INDEX webhook_delivery_once ON webhook_delivery (subscription, event_id);
CREATE INDEX webhook_delivery_due ON webhook_delivery (subscription, next_us, seq) WHERE state = 'pending';
CREATE INDEX webhook_delivery_call ON webhook_delivery (subscription, call_id, seq) WHERE state = 'pending';
CREATE INDEX webhook_delivery_pending ON webhook_delivery (subscription, seq) WHERE state = 'pending';
CREATE INDEX webhook_delivery_dead ON webhook_delivery (subscription, seq) WHERE state = 'dead';
CREATE INDEX webhook_delivery_old ON webhook_delivery (forget_us) WHERE forget_us > 0;

-- How far the sources of events were taken: partitions of a topic, the journal.
-- Moved in the transaction that stores the deliveries.
CREATE TABLE webhook_position (
	source TEXT   NOT NULL,
	part   BIGINT NOT NULL,
	next   BIGINT NOT NULL,
	PRIMARY KEY (source, part)
);

-- Who sends. There is one row.
CREATE TABLE webhook_lease (
	owner    TEXT   NOT NULL,
	until_us BIGINT NOT NULL
);
INSERT INTO webhook_lease (owner, until_us) VALUES ('', 0);
