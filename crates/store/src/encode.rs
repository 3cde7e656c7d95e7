//! The model as rows. The order of fields is that of `sql/queries/*/copy.sql` and `insert.sql`.

use chrono::{DateTime, Utc};
use sheaf_model::{Customer, TenantId, id};
use uuid::Uuid;

use crate::cluster::Table;
use crate::copy::CopyBuffer;
use crate::types::NewInvoice;

/// Rows of every table that a batch of creates touches.
pub(crate) struct Batch {
    invoices: CopyBuffer,
    lines: CopyBuffer,
    payments: CopyBuffer,
    events: CopyBuffer,
    customers: CopyBuffer,
    idempotency: CopyBuffer,
}

/// A customer that the batch makes.
pub(crate) struct NewCustomer<'a> {
    pub(crate) tenant: TenantId,
    pub(crate) id: Uuid,
    pub(crate) customer: &'a Customer,
    pub(crate) by: &'a NewInvoice,
}

impl Batch {
    pub(crate) fn new(invoices: usize) -> Self {
        Self {
            invoices: CopyBuffer::with_capacity(invoices * 420),
            lines: CopyBuffer::with_capacity(invoices * 400),
            payments: CopyBuffer::with_capacity(0),
            events: CopyBuffer::with_capacity(invoices * 300),
            customers: CopyBuffer::with_capacity(0),
            idempotency: CopyBuffer::with_capacity(0),
        }
    }

    pub(crate) fn rows_of(&self, table: Table) -> &CopyBuffer {
        match table {
            Table::Customers => &self.customers,
            Table::Invoices => &self.invoices,
            Table::Lines => &self.lines,
            Table::Payments => &self.payments,
            Table::Events => &self.events,
            Table::Idempotency => &self.idempotency,
        }
    }

    pub(crate) fn push(&mut self, new: &NewInvoice) {
        self.push_header(new);
        let invoice = &new.invoice;
        let year = id::year_of(invoice.id);
        for (position, line) in (1_i32..).zip(&invoice.lines) {
            self.lines
                .row(12)
                .uuid(invoice.tenant_id.0)
                .uuid(invoice.id)
                .i32(position)
                .i16(year)
                .opt_text(line.sku.as_deref())
                .text(&line.description)
                .decimal(line.quantity)
                .decimal(line.unit_price)
                .decimal(line.discount)
                .decimal(line.tax_rate)
                .decimal(line.net)
                .decimal(line.tax);
        }
        for payment in &invoice.payments {
            self.payments
                .row(9)
                .uuid(invoice.tenant_id.0)
                .uuid(invoice.id)
                .uuid(payment.id)
                .i16(year)
                .text(&payment.reference)
                .decimal(payment.amount)
                .date(payment.paid_on)
                .text(&payment.method)
                .timestamp(invoice.created_at);
        }
        self.push_event(
            new,
            invoice.id,
            "invoice.created",
            &invoice.created_event(),
            invoice.created_at,
        );
        if let Some(idem) = &new.idem {
            self.idempotency
                .row(7)
                .uuid(invoice.tenant_id.0)
                .text(&idem.key)
                .bytes(&idem.fingerprint)
                .i16(201)
                .text(&format!("/v1/invoices/{}", invoice.id))
                .bytes(&invoice.render())
                .timestamp(invoice.created_at);
        }
    }

    pub(crate) fn push_customer(&mut self, new: &NewCustomer<'_>) {
        let created_at = new.by.invoice.created_at;
        self.customers
            .row(9)
            .uuid(new.tenant.0)
            .uuid(new.id)
            .opt_text(new.customer.external_id.as_deref())
            .text(&new.customer.name)
            .opt_text(new.customer.email.as_deref())
            .opt_text(new.customer.tax_id.as_deref())
            .opt_text(new.customer.address.as_deref())
            .opt_text(new.customer.country.as_deref())
            .timestamp(created_at);
        let data = format!("{{\"invoice_id\": \"{}\"}}", new.by.invoice.id);
        self.push_event(new.by, new.id, "customer.created", &data, created_at);
    }

    fn push_event(
        &mut self,
        new: &NewInvoice,
        subject: Uuid,
        event_type: &str,
        data: &str,
        at: DateTime<Utc>,
    ) {
        self.events
            .row(9)
            .uuid(new.invoice.tenant_id.0)
            .uuid(subject)
            .uuid(id::new_id(at))
            .i16(id::year_of(subject))
            .text(event_type)
            .text(&new.actor)
            .text(&new.request_id)
            .jsonb(data)
            .timestamp(at);
    }

    fn push_header(&mut self, new: &NewInvoice) {
        let i = &new.invoice;
        let c = i.customer.as_ref();
        // The model bounds lines to 10,000 and payments to 1,000.
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        self.invoices
            .row(29)
            .uuid(i.tenant_id.0)
            .uuid(i.id)
            .i16(id::year_of(i.id))
            .opt_text(i.external_id.as_deref())
            .opt_text(i.number.as_deref())
            .text(i.kind.as_str())
            .text(i.status.as_str())
            .text(i.currency.code())
            .opt_uuid(i.customer_id)
            .opt_text(c.and_then(|c| c.external_id.as_deref()))
            .opt_text(c.map(|c| c.name.as_str()))
            .opt_text(c.and_then(|c| c.email.as_deref()))
            .opt_text(c.and_then(|c| c.tax_id.as_deref()))
            .opt_text(c.and_then(|c| c.address.as_deref()))
            .opt_text(c.and_then(|c| c.country.as_deref()))
            .opt_date(i.issue_date)
            .opt_date(i.due_date)
            .decimal(i.subtotal)
            .decimal(i.discount_total)
            .decimal(i.tax_total)
            .decimal(i.total)
            .decimal(i.amount_paid)
            .decimal(i.amount_due)
            .i32(count(i.lines.len()))
            .i32(count(i.payments.len()))
            .jsonb(i.metadata.as_str())
            .i64(i.version)
            .timestamp(i.created_at)
            .timestamp(i.modified_at);
    }
}
