//! The model as rows. The order of fields is that of `sql/queries/*/copy.sql` and `insert.sql`.

use chrono::{DateTime, Utc};
use sheaf_model::{Credited, Customer, Invoice, Payment, Status, TaxRounding, TenantId, id};
use uuid::Uuid;

use crate::event::origin::Origin;
use crate::idempotency::key::IdemKey;
use crate::invoice::new::NewInvoice;
use crate::invoice::number::Claim;
use crate::sql::statements::Table;
use sheaf_cluster::rows::CopyBuffer;

/// The version of a profile that stands for the one of now: the statement that inserts the invoice
/// reads it (`sql/queries/invoice/insert.sql`).
pub(crate) const PROFILE_OF_NOW: i64 = 0;

/// Rows of every table that a batch of creates touches.
pub(crate) struct Batch {
    invoices: CopyBuffer,
    lines: CopyBuffer,
    payments: CopyBuffer,
    events: CopyBuffer,
    customers: CopyBuffer,
    idempotency: CopyBuffer,
    number_claims: CopyBuffer,
}

/// A customer that the batch makes.
pub(crate) struct NewCustomer<'a> {
    pub(crate) id: Uuid,
    pub(crate) customer: &'a Customer,
    pub(crate) by: &'a NewInvoice,
}

/// One row of `event/copy`: what happened to `subject`, told with who did it to whom.
pub(crate) fn event_row(
    rows: &mut CopyBuffer,
    (tenant, origin): (TenantId, &Origin),
    subject: Uuid,
    event_type: &str,
    data: &str,
    at: DateTime<Utc>,
) {
    rows.row(11)
        .uuid(tenant.0)
        .uuid(subject)
        .uuid(id::precise_id(at))
        .i16(id::year_of(subject))
        .text(event_type)
        .text(&origin.actor)
        .text(&origin.request_id)
        .jsonb(data)
        .timestamp(at)
        .opt_text(origin.trace.correlation_id.as_deref())
        .opt_text(origin.trace.causation_id.as_deref());
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
            number_claims: CopyBuffer::with_capacity(0),
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
            Table::NumberClaims => &self.number_claims,
        }
    }

    /// `profile`: the version of the tenant's profile that it shows from now on, where it is
    /// issued.
    pub(crate) fn push(&mut self, new: &NewInvoice, profile: Option<i64>) {
        let invoice = &new.invoice;
        let profile = profile.filter(|_| invoice.status != Status::Draft);
        self.push_document_with(invoice, profile);
        self.push_claim(invoice);
        // Readers of the feed have been at `created_at` long ago, where a document comes back.
        let at = new.at;
        let data = invoice.created_event();
        let by = (invoice.tenant_id, &new.origin);
        self.push_event(by, invoice.id, "invoice.created", &data, at);
        if let Some(idem) = &new.idem {
            let location = format!("/v1/invoices/{}", invoice.id);
            let body = invoice.render();
            let answer = (201, Some(location.as_str()), body.as_slice());
            self.push_answer(invoice.tenant_id, idem, answer, at);
        }
    }

    /// The invoice with its lines and payments.
    pub(crate) fn push_document(&mut self, invoice: &Invoice) {
        self.push_document_with(invoice, invoice.profile_version);
    }

    fn push_document_with(&mut self, invoice: &Invoice, profile: Option<i64>) {
        self.push_header(invoice, profile);
        self.push_lines(invoice);
        for payment in &invoice.payments {
            self.push_payment(invoice, payment, invoice.created_at);
        }
    }

    /// Takes the invoice's number in its year of issue as well, where that is not the year of its
    /// id.
    pub(crate) fn push_claim(&mut self, invoice: &Invoice) {
        if let Some(Claim { number, year }) = Claim::of(invoice) {
            self.push_claimed(invoice.tenant_id, number, year, invoice.id);
        }
    }

    pub(crate) fn push_claimed(&mut self, tenant: TenantId, number: &str, year: i16, by: Uuid) {
        self.number_claims
            .row(4)
            .uuid(tenant.0)
            .text(number)
            .i16(year)
            .uuid(by);
    }

    /// Rows of claimed numbers.
    pub(crate) fn claimed(&self) -> u64 {
        self.number_claims.rows()
    }

    pub(crate) fn push_lines(&mut self, invoice: &Invoice) {
        let year = id::year_of(invoice.id);
        for (position, line) in (1_i32..).zip(&invoice.lines) {
            self.lines
                .row(14)
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
                .decimal(line.tax)
                .opt_decimal(line.discount_percent)
                .decimal(line.document_discount);
        }
    }

    pub(crate) fn push_payment(&mut self, of: &Invoice, payment: &Payment, at: DateTime<Utc>) {
        self.payments
            .row(11)
            .uuid(of.tenant_id.0)
            .uuid(of.id)
            .uuid(payment.id)
            .i16(id::year_of(of.id))
            .text(&payment.reference)
            .decimal(payment.amount)
            .date(payment.paid_on)
            .text(&payment.method)
            .timestamp(at)
            .text(payment.kind.as_str())
            .opt_uuid(payment.reverses);
    }

    /// The answer that a retry will get: status, location, body.
    pub(crate) fn push_answer(
        &mut self,
        tenant: TenantId,
        idem: &IdemKey,
        (status, location, body): (i16, Option<&str>, &[u8]),
        at: DateTime<Utc>,
    ) {
        self.idempotency
            .row(7)
            .uuid(tenant.0)
            .text(&idem.key)
            .bytes(&idem.fingerprint)
            .i16(status)
            .opt_text(location)
            .bytes(body)
            .timestamp(at);
    }

    pub(crate) fn push_customer(&mut self, new: &NewCustomer<'_>) {
        let invoice = &new.by.invoice;
        self.push_customer_of(
            (invoice.tenant_id, &new.by.origin),
            new.id,
            new.customer,
            invoice.id,
            new.by.at,
        );
    }

    /// A customer that an invoice brings along.
    pub(crate) fn push_customer_of(
        &mut self,
        by: (TenantId, &Origin),
        id: Uuid,
        customer: &Customer,
        invoice_id: Uuid,
        created_at: DateTime<Utc>,
    ) {
        self.customers
            .row(9)
            .uuid(by.0.0)
            .uuid(id)
            .opt_text(customer.external_id.as_deref())
            .text(&customer.name)
            .opt_text(customer.email.as_deref())
            .opt_text(customer.tax_id.as_deref())
            .opt_text(customer.address.as_deref())
            .opt_text(customer.country.as_deref())
            .timestamp(created_at);
        let data = format!("{{\"invoice_id\": \"{invoice_id}\"}}");
        self.push_event(by, id, "customer.created", &data, created_at);
    }

    pub(crate) fn push_event(
        &mut self,
        by: (TenantId, &Origin),
        subject: Uuid,
        event_type: &str,
        data: &str,
        at: DateTime<Utc>,
    ) {
        event_row(&mut self.events, by, subject, event_type, data, at);
    }

    fn push_header(&mut self, i: &Invoice, profile: Option<i64>) {
        let c = i.customer.as_ref();
        // The model bounds lines to 10,000 and payments to 1,000.
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        self.invoices
            .row(36)
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
            .timestamp(i.modified_at)
            .opt_uuid(i.credits)
            .decimal(i.discount)
            .opt_decimal(i.discount_percent)
            .decimal(i.amount_credited)
            .opt_text(i.tax_rounding.map(TaxRounding::as_str))
            .opt_i64(profile)
            .opt_jsonb(i.credited.as_ref().map(Credited::to_json).as_deref());
    }
}
