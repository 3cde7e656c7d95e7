-- The seller of a tenant's documents. The profile's form is `sheaf_documents::Profile`'s; version counts changes, from 1.
create table tenant_profiles (
    tenant_id uuid primary key,
    profile jsonb not null,
    version bigint not null,
    modified_at timestamptz not null
);
