-- Customers get fields of their own, a version and a life. The writers of uploads go on naming the columns of V1.
alter table customers
    add column metadata jsonb not null default '{}',
    add column active boolean not null default true,
    -- The survivor that a duplicate was merged into. It is never merged itself: there are no chains.
    add column merged_into uuid,
    add column version bigint not null default 1,
    -- Null until the first change.
    add column modified_at timestamptz;
create index customers_tax_id on customers (tenant_id, tax_id, id) where tax_id is not null;
create index customers_email on customers (tenant_id, lower(email), id) where email is not null;
create index customers_inactive on customers (tenant_id, id) where not active;
create index customers_merged on customers (tenant_id, merged_into) where merged_into is not null;

-- What is owed, for reports by age (docs/decisions/0011-reports.md). A large installation builds it year by year first, as
-- sql/README.md says; these statements then find it there.
create index if not exists invoices_open on invoices (tenant_id, customer_id, currency) include (kind, due_date, amount_due)
    where status in ('issued', 'partially_paid');
-- What came in lately.
create index if not exists payments_day on payments (tenant_id, paid_on) include (invoice_id, amount);
