-- API keys that end by themselves, and the key that another one replaces. An older binary writes neither, and does not
-- ask for the end: until the last of them has gone, a key that was rotated goes on there.
alter table api_keys add column expires_at timestamptz;
alter table api_keys add column rotated_from uuid;
