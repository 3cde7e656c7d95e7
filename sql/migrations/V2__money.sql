-- Money: discounts, credit notes, reversals and refunds, the trace of a change, and the order of events.
-- Only new columns that are null or have a constant default: old binaries go on writing (sql/README.md).

alter table invoices
    add column credits uuid,
    add column discount numeric(18, 4) not null default 0,
    add column discount_percent numeric(9, 6),
    add column amount_credited numeric(18, 4) not null default 0;

alter table invoice_lines
    add column discount_percent numeric(9, 6),
    add column document_discount numeric(18, 4) not null default 0;

alter table payments
    add column kind text not null default 'payment',
    add column reverses uuid;

alter table events
    add column correlation_id text,
    add column causation_id text,
    -- When the owner wrote the row, by its own clock: the order of the feed. Null on events that came back from the
    -- archive, which the feed has told before. No default while the column is added: that would rewrite the table.
    add column recorded_at timestamptz;
alter table events alter column recorded_at set default clock_timestamp();
create index events_feed on events (tenant_id, recorded_at, id);
