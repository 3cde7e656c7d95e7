-- A number is unique in the year of its document's id, which is what the index on invoices knows, and in the document's
-- year of issue. One row here for a document whose two years differ: its number is taken in the year of issue as well. The
-- row stays when the document leaves for the archive (docs/decisions/0007-keys-across-the-tiers.md).
--
-- Not an expand step: a binary that does not know this table would enter documents without a row. What is stored already
-- is entered by `sheaf migrate`, once, after this.
create table number_claims (
    tenant_id uuid not null,
    number text not null,
    issue_year smallint not null,
    invoice_id uuid not null,
    primary key (tenant_id, number, issue_year)
);

-- Which numbers a published file may have, by what is before their last digits: {"R-": [1, 4000]}. A series that runs through
-- the years looks only into files that may have its next numbers. Null: not known.
alter table archive_files add column numbers jsonb;
