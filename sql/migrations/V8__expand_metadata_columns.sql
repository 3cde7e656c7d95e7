-- Keys of `metadata` that a tenant declares: each is a column of the archive's files that are written from then on.
create table metadata_columns (
    tenant_id uuid primary key,
    keys text[] not null check (cardinality(keys) <= 16),
    version bigint not null,
    modified_at timestamptz not null
);
