-- How an invoice's tax is rounded (none: stored before there was a choice, by line), the version of the profile that it was
-- issued with (none: the oldest that is kept), and what its credit notes took by rate. A binary that does not know these
-- columns would write documents without them: stop, migrate, start.
alter table invoices
    add column tax_rounding text,
    add column profile_version bigint,
    add column credited jsonb;

-- Every version of a tenant's profile that a document may have been issued with. `sheaf migrate` enters today's
-- (sql/queries/profile/keep_versions.sql), once Citus has distributed the table.
create table tenant_profile_versions (
    tenant_id uuid not null,
    version bigint not null,
    profile jsonb not null,
    modified_at timestamptz not null,
    primary key (tenant_id, version)
);
