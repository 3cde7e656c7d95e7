-- The hot tier. Valid on plain PostgreSQL; citus/ distributes the same tables where the extension is present.
--
-- Conventions:
--   * every table that grows is distributed by tenant_id, and its primary key starts with it;
--   * tables that hold invoices are partitioned by year, the year that the invoice's UUIDv7 carries;
--   * no foreign keys: an invoice and all that hangs on it are written, and leave for the archive, in one transaction
--     (docs/decisions/0002-no-foreign-keys.md).

create table tenants (
    id uuid primary key,
    name text not null,
    external_id text unique,
    created_at timestamptz not null
);

create table api_keys (
    id uuid primary key,
    tenant_id uuid not null,
    name text not null,
    role text not null check (role in ('admin', 'finance', 'viewer')),
    prefix text not null,
    hash bytea not null unique check (length(hash) = 32),
    created_at timestamptz not null,
    revoked_at timestamptz
);
create index api_keys_tenant on api_keys (tenant_id, id);

create table customers (
    tenant_id uuid not null,
    id uuid not null,
    external_id text,
    name text not null,
    email text,
    tax_id text,
    address text,
    country text,
    created_at timestamptz not null,
    primary key (tenant_id, id),
    unique (tenant_id, external_id)
);

create table invoices (
    tenant_id uuid not null,
    id uuid not null,
    year smallint not null,
    external_id text,
    number text,
    kind text not null check (kind in ('invoice', 'credit_note')),
    status text not null check (status in ('draft', 'issued', 'partially_paid', 'paid', 'cancelled')),
    currency text not null,
    customer_id uuid,
    customer_external_id text,
    customer_name text,
    customer_email text,
    customer_tax_id text,
    customer_address text,
    customer_country text,
    issue_date date,
    due_date date,
    subtotal numeric(18, 4) not null,
    discount_total numeric(18, 4) not null,
    tax_total numeric(18, 4) not null,
    total numeric(18, 4) not null,
    amount_paid numeric(18, 4) not null,
    amount_due numeric(18, 4) not null,
    line_count integer not null,
    payment_count integer not null,
    metadata jsonb not null,
    version bigint not null,
    created_at timestamptz not null,
    modified_at timestamptz not null,
    primary key (tenant_id, id, year)
) partition by list (year);
-- Unique per tenant and year, only where there is something to be unique.
create unique index invoices_external_id on invoices (tenant_id, external_id, year) where external_id is not null;
create unique index invoices_number on invoices (tenant_id, number, year) where number is not null;
create index invoices_customer on invoices (tenant_id, customer_id, id) where customer_id is not null;
create index invoices_metadata on invoices using gin (metadata jsonb_path_ops);

create table invoice_lines (
    tenant_id uuid not null,
    invoice_id uuid not null,
    line_no integer not null,
    year smallint not null,
    sku text,
    description text not null,
    quantity numeric(18, 6) not null,
    unit_price numeric(18, 6) not null,
    discount numeric(18, 4) not null,
    tax_rate numeric(7, 6) not null,
    net numeric(18, 4) not null,
    tax numeric(18, 4) not null,
    primary key (tenant_id, invoice_id, line_no, year)
) partition by list (year);

create table payments (
    tenant_id uuid not null,
    invoice_id uuid not null,
    id uuid not null,
    year smallint not null,
    reference text not null,
    amount numeric(18, 4) not null,
    paid_on date not null,
    method text not null,
    created_at timestamptz not null,
    primary key (tenant_id, invoice_id, id, year),
    unique (tenant_id, invoice_id, reference, year)
) partition by list (year);

-- One immutable row a change. subject_id is the invoice (or customer) that changed; year is the subject's.
create table events (
    tenant_id uuid not null,
    subject_id uuid not null,
    id uuid not null,
    year smallint not null,
    event_type text not null,
    actor text not null,
    request_id text,
    data jsonb not null,
    created_at timestamptz not null,
    primary key (tenant_id, subject_id, id, year)
) partition by list (year);

-- status is null while the request runs; locked_until then says how long its runner is believed to be alive.
create table idempotency_keys (
    tenant_id uuid not null,
    key text not null,
    fingerprint bytea,
    status smallint,
    location text,
    body bytea,
    locked_until timestamptz,
    created_at timestamptz not null,
    primary key (tenant_id, key)
);

create table number_series (
    tenant_id uuid not null,
    series text not null,
    year smallint not null,
    prefix text not null,
    padding smallint not null check (padding between 0 and 18),
    next bigint not null check (next > 0),
    primary key (tenant_id, series, year)
);

-- The catalog of the cold tier. A published file is the only tier of its invoices.
create table archive_files (
    tenant_id uuid not null,
    period text not null check (period ~ '^[0-9]{4}-[0-9]{2}$'),
    part integer not null check (part >= 0),
    generation integer not null check (generation > 0),
    year smallint not null,
    object_key text not null,
    state text not null check (state in ('staged', 'published', 'superseded', 'garbage')),
    min_id uuid,
    max_id uuid,
    invoices bigint not null default 0,
    lines bigint not null default 0,
    payments bigint not null default 0,
    events bigint not null default 0,
    bytes bigint not null default 0,
    tail_offset bigint not null default 0,
    sha256 bytea,
    sums jsonb not null default '{}',
    schema_version integer not null,
    staged_at timestamptz not null,
    published_at timestamptz,
    superseded_at timestamptz,
    primary key (tenant_id, period, part, generation),
    check (state <> 'published' or (sha256 is not null and min_id is not null and max_id is not null))
);
create index archive_files_published on archive_files (tenant_id, max_id) where state = 'published';

create table archive_recalls (
    tenant_id uuid not null,
    invoice_id uuid not null,
    year smallint not null,
    object_key text not null,
    recalled_at timestamptz not null,
    primary key (tenant_id, invoice_id, year)
);
