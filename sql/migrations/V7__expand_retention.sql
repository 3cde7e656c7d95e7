-- What a tenant wants to be erased of a customer, and the receipt of it: one row a customer, which a later request starts anew.
create table erasures (
    tenant_id uuid not null,
    customer_id uuid not null,
    requested_at timestamptz not null,
    requested_by text not null,
    -- Changes so far, in the hot tier and in the archive.
    hot_invoices bigint not null default 0,
    hot_events bigint not null default 0,
    cold_files bigint not null default 0,
    cold_files_rewritten bigint not null default 0,
    cold_invoices bigint not null default 0,
    -- Years that retention did not let be touched, and objects that may still hold the data, with times.
    held jsonb not null default '[]',
    pending jsonb not null default '[]',
    -- The last pass over both tiers, and the end: nothing is held or pending.
    passed_at timestamptz,
    completed_at timestamptz,
    primary key (tenant_id, customer_id)
);

-- How long a tenant's documents of a year must stay as they are. No row: erasure may take personal data out at once.
create table retention (
    tenant_id uuid not null,
    year smallint not null check (year between 1970 and 2199),
    legal_hold boolean not null,
    keep_until date,
    version bigint not null,
    modified_at timestamptz not null,
    primary key (tenant_id, year)
);
