-- Numbers on their way from or to another carrier. What happened to a request
-- is in the journal.

-- +goose Up
CREATE TABLE port_request (
	company          TEXT   NOT NULL REFERENCES company (id),
	id               TEXT   NOT NULL,
	batch_id         TEXT   NOT NULL,
	office_id        TEXT   NOT NULL DEFAULT '',
	-- The id that the number portability administration knows it by.
	lnp_id           TEXT   NOT NULL DEFAULT '',
	port_type        TEXT   NOT NULL CHECK (port_type IN ('port_in', 'port_out')),
	state            TEXT   NOT NULL CHECK (state IN ('draft', 'submitted', 'foc_received', 'rejected', 'completed', 'cancelled')),
	requested_us     BIGINT NOT NULL,
	modified_us      BIGINT NOT NULL,
	-- Firm order commitment, YYYY-MM-DD, or ''.
	foc_date         TEXT   NOT NULL DEFAULT '',
	-- Who gets the numbers when the port is complete, or '': the pool.
	target_kind      TEXT   NOT NULL DEFAULT '',
	target_id        TEXT   NOT NULL DEFAULT '',
	carrier          TEXT   NOT NULL DEFAULT '',
	rejection_reason TEXT   NOT NULL DEFAULT '',
	-- Batch, LNP id, carrier and id in lower case, for searching.
	search           TEXT   NOT NULL,
	PRIMARY KEY (company, id)
);
CREATE INDEX port_request_by_time ON port_request (company, requested_us, id);
CREATE INDEX port_request_by_batch ON port_request (company, batch_id);
CREATE INDEX port_request_by_lnp ON port_request (company, lnp_id);

CREATE TABLE port_request_number (
	company    TEXT   NOT NULL,
	request_id TEXT   NOT NULL,
	number     TEXT   NOT NULL,
	i          BIGINT NOT NULL,
	-- While the request holds the number: the status that it had before, or 'none'
	-- where the company did not have it. Else ''.
	former     TEXT   NOT NULL DEFAULT '',
	PRIMARY KEY (company, request_id, number),
	FOREIGN KEY (company, request_id) REFERENCES port_request (company, id)
);
CREATE INDEX port_request_by_number ON port_request_number (company, number);
