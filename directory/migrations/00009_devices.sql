-- Devices are known from what they do: registrations and calls lie in
-- ClickHouse. Here is what only the directory knows of them.

-- +goose Up

-- A device that was deleted, which forces it to register anew. It is not listed
-- until it is seen again.
CREATE TABLE device (
	company    TEXT   NOT NULL,
	user_id    TEXT   NOT NULL,
	id         TEXT   NOT NULL,
	-- What it was then.
	app_kind   TEXT   NOT NULL DEFAULT '',
	platform   TEXT   NOT NULL DEFAULT '',
	version    TEXT   NOT NULL DEFAULT '',
	deleted_us BIGINT NOT NULL,
	-- Credentials that this revoked.
	revoked    BIGINT NOT NULL,
	-- The directory_version of the deletion: registrars ask for those after the last they saw.
	n          BIGINT NOT NULL,
	PRIMARY KEY (company, user_id, id)
);
CREATE INDEX device_by_version ON device (n);

-- With which credentials a device that was seen has registered.
CREATE TABLE credential_use (
	credential_id TEXT   NOT NULL REFERENCES device_credentials (id),
	device_id     TEXT   NOT NULL,
	first_us      BIGINT NOT NULL,
	PRIMARY KEY (credential_id, device_id)
);
CREATE INDEX credential_use_by_device ON credential_use (device_id);

-- The latest version of each kind of app, of a company or ('') of all.
CREATE TABLE app_release (
	company     TEXT   NOT NULL,
	kind        TEXT   NOT NULL CHECK (kind IN ('native', 'packaged_app', 'web', 'harness', 'mobile', 'desk_phone', 'sip')),
	-- Only of this app, only on this platform; '' of each.
	app         TEXT   NOT NULL DEFAULT '',
	platform    TEXT   NOT NULL DEFAULT '',
	version     TEXT   NOT NULL,
	released_us BIGINT NOT NULL DEFAULT 0,
	updated_us  BIGINT NOT NULL,
	PRIMARY KEY (company, kind, app, platform)
);
