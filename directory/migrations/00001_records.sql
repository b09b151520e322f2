-- The portal's own records. One text for SQLite and PostgreSQL: TEXT, BIGINT
-- and nothing that only one of them knows. Times are Unix microseconds; an
-- absent value is '' or 0, so that comparisons need no NULL cases.

-- +goose Up

-- Grows with every change below; resolvers reload when it has moved. Every
-- write transaction updates it first, which makes writers take turns on
-- PostgreSQL too.
CREATE TABLE directory_version (
	n BIGINT NOT NULL
);
INSERT INTO directory_version (n) VALUES (1);

CREATE TABLE company (
	id         TEXT   NOT NULL PRIMARY KEY,
	name       TEXT   NOT NULL,
	region     TEXT   NOT NULL DEFAULT 'US',
	created_us BIGINT NOT NULL
);

CREATE TABLE place (
	company    TEXT   NOT NULL REFERENCES company (id),
	kind       TEXT   NOT NULL CHECK (kind IN ('office', 'department', 'room', 'contact_center')),
	id         TEXT   NOT NULL,
	name       TEXT   NOT NULL,
	office_id  TEXT   NOT NULL DEFAULT '',
	created_us BIGINT NOT NULL,
	PRIMARY KEY (company, kind, id)
);

CREATE TABLE users (
	company    TEXT   NOT NULL REFERENCES company (id),
	id         TEXT   NOT NULL,
	name       TEXT   NOT NULL,
	email      TEXT   NOT NULL DEFAULT '',
	state      TEXT   NOT NULL CHECK (state IN ('active', 'pending', 'invited', 'deleted')),
	office_id  TEXT   NOT NULL DEFAULT '',
	-- Name, email and id in lower case of any alphabet: LOWER() of SQLite knows ASCII only.
	search     TEXT   NOT NULL,
	created_us BIGINT NOT NULL,
	updated_us BIGINT NOT NULL,
	PRIMARY KEY (company, id)
);
CREATE INDEX users_by_name ON users (company, name, id);
CREATE UNIQUE INDEX users_by_email ON users (company, email) WHERE email <> '' AND state <> 'deleted';

-- Departments and contact centers that a user works in.
CREATE TABLE membership (
	company  TEXT NOT NULL,
	user_id  TEXT NOT NULL,
	kind     TEXT NOT NULL CHECK (kind IN ('department', 'contact_center')),
	place_id TEXT NOT NULL,
	PRIMARY KEY (company, user_id, kind, place_id),
	FOREIGN KEY (company, user_id) REFERENCES users (company, id),
	FOREIGN KEY (company, kind, place_id) REFERENCES place (company, kind, id)
);
CREATE INDEX membership_by_place ON membership (company, kind, place_id);

-- SIP addresses-of-record, user@host in lower case; without @host it holds for any host.
CREATE TABLE aor (
	company TEXT NOT NULL,
	aor     TEXT NOT NULL,
	user_id TEXT NOT NULL,
	PRIMARY KEY (company, aor),
	FOREIGN KEY (company, user_id) REFERENCES users (company, id)
);
CREATE INDEX aor_by_user ON aor (company, user_id);

CREATE TABLE number (
	company    TEXT   NOT NULL REFERENCES company (id),
	number     TEXT   NOT NULL,
	national   TEXT   NOT NULL,
	type       TEXT   NOT NULL CHECK (type IN ('local', 'toll_free')),
	region     TEXT   NOT NULL,
	area_code  TEXT   NOT NULL,
	prefix     TEXT   NOT NULL,
	status     TEXT   NOT NULL CHECK (status IN ('available', 'user', 'department', 'office', 'room', 'contact_center', 'port_pending')),
	owner_kind TEXT   NOT NULL DEFAULT '',
	owner_id   TEXT   NOT NULL DEFAULT '',
	created_us BIGINT NOT NULL,
	updated_us BIGINT NOT NULL,
	PRIMARY KEY (company, number),
	CHECK ((owner_kind = '' AND owner_id = '' AND status IN ('available', 'port_pending')) OR (owner_kind = status AND owner_id <> ''))
);
CREATE INDEX number_by_owner ON number (company, owner_kind, owner_id);
CREATE INDEX number_by_national ON number (company, national);

CREATE TABLE api_key (
	id         TEXT   NOT NULL PRIMARY KEY,
	hash       TEXT   NOT NULL UNIQUE,
	prefix     TEXT   NOT NULL,
	name       TEXT   NOT NULL,
	role       TEXT   NOT NULL CHECK (role IN ('operator', 'company')),
	company    TEXT   NOT NULL DEFAULT '',
	created_us BIGINT NOT NULL,
	used_us    BIGINT NOT NULL DEFAULT 0,
	revoked_us BIGINT NOT NULL DEFAULT 0,
	CHECK ((role = 'operator') = (company = ''))
);

CREATE TABLE signin_token (
	hash       TEXT   NOT NULL PRIMARY KEY,
	name       TEXT   NOT NULL,
	role       TEXT   NOT NULL,
	company    TEXT   NOT NULL DEFAULT '',
	created_us BIGINT NOT NULL,
	expires_us BIGINT NOT NULL
);

-- key_id names the key that a session was opened with: revoking the key ends it.
CREATE TABLE session (
	hash       TEXT   NOT NULL PRIMARY KEY,
	name       TEXT   NOT NULL,
	role       TEXT   NOT NULL,
	company    TEXT   NOT NULL DEFAULT '',
	key_id     TEXT   NOT NULL DEFAULT '',
	created_us BIGINT NOT NULL,
	expires_us BIGINT NOT NULL
);
