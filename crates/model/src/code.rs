//! Every stable error code of the HTTP API, with its status and its meaning.
//!
//! Programs compare codes, so that none changes its name or its status. `docs/errors.md` is made
//! from this list.

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! codes {
    ($($status:literal { $($(#[doc = $meaning:literal])+ $name:ident = $text:literal,)+ })+) => {
        /// A stable error code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $($($(#[doc = $meaning])+ $name,)+)+
        }

        impl Code {
            /// Every code, by status.
            pub const ALL: &[Self] = &[$($(Self::$name,)+)+];

            /// As it is answered: snake case.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $($(Self::$name => $text,)+)+ }
            }

            /// The HTTP status of an answer with this code. A document that is refused for its
            /// fields is a 422 with the code of the first of them, whatever the status here.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $($(Self::$name => $status,)+)+ }
            }

            /// What it means, in one sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $($(Self::$name => concat!($($meaning,)+).trim_ascii(),)+)+ }
            }
        }
    };
}

codes! {
    202 {
        /// The archived object is on its way from a slow storage class: ask again later.
        ArchiveRestoring = "archive_restoring",
    }
    400 {
        /// The body broke off.
        IncompleteBody = "incomplete_body",
        /// The cursor is of another list, of other filters, or none.
        InvalidCursor = "invalid_cursor",
        /// The body is not a gzip stream.
        InvalidGzip = "invalid_gzip",
        /// A header says what it cannot, or is given twice.
        InvalidHeader = "invalid_header",
        /// `Idempotency-Key` is not 1 to 255 visible ASCII characters.
        InvalidIdempotencyKey = "invalid_idempotency_key",
        /// The body, or a line of it, is no JSON document.
        InvalidJson = "invalid_json",
        /// A query parameter has a value that it cannot have.
        InvalidParameter = "invalid_parameter",
        /// The statement is no SQL, or names tables, columns or functions that there are not.
        InvalidSql = "invalid_sql",
        /// `limit` is not a number from 1 to 100.
        LimitOutOfRange = "limit_out_of_range",
        /// The request needs a body.
        MissingBody = "missing_body",
        /// The gzip stream ends early.
        TruncatedGzip = "truncated_gzip",
        /// The route has no such query parameter.
        UnknownParameter = "unknown_parameter",
    }
    401 {
        /// The credential was good once, and has expired.
        ExpiredCredential = "expired_credential",
        /// The credential is no key and no token that is known here.
        InvalidCredential = "invalid_credential",
        /// No credential was sent.
        MissingCredential = "missing_credential",
        /// The API key was revoked.
        RevokedCredential = "revoked_credential",
    }
    403 {
        /// The route needs the admin key.
        AdminRequired = "admin_required",
        /// The credential's role does not allow this.
        ForbiddenRole = "forbidden_role",
        /// The route needs a tenant's credential, not the admin key.
        TenantCredentialRequired = "tenant_credential_required",
        /// `X-Tenant-Id`, or the document, names another tenant than the credential's.
        TenantMismatch = "tenant_mismatch",
        /// The tenant that the token, or a line of a platform upload, names does not exist.
        UnknownTenant = "unknown_tenant",
    }
    404 {
        /// There is no such API key.
        ApiKeyNotFound = "api_key_not_found",
        /// There is no such customer; 422 where a document or a merge names it.
        CustomerNotFound = "customer_not_found",
        /// No erasure of this customer was asked for.
        ErasureNotFound = "erasure_not_found",
        /// There is no such invoice, or it is another tenant's.
        InvoiceNotFound = "invoice_not_found",
        /// There is no such number series.
        NumberSeriesNotFound = "number_series_not_found",
        /// The invoice has no such payment.
        PaymentNotFound = "payment_not_found",
        /// No profile was set yet.
        ProfileNotFound = "profile_not_found",
        /// There is no such path.
        RouteNotFound = "route_not_found",
        /// There is no such tenant.
        TenantNotFound = "tenant_not_found",
    }
    405 {
        /// The path does not have this method.
        MethodNotAllowed = "method_not_allowed",
    }
    408 {
        /// The body came too slowly.
        RequestTimeout = "request_timeout",
    }
    409 {
        /// The document is issued.
        AlreadyIssued = "already_issued",
        /// Nothing is owed on the invoice.
        AlreadyPaid = "already_paid",
        /// Nothing is left of the credit note.
        AlreadySettled = "already_settled",
        /// The API key is revoked or expired: it cannot be rotated.
        ApiKeyEnded = "api_key_ended",
        /// Others were changing the same thing at the same time; nothing was done.
        ConcurrentChanges = "concurrent_changes",
        /// More is applied than is left of the credit note.
        CreditExceeded = "credit_exceeded",
        /// The credit notes would come to more than the invoice.
        CreditExceedsInvoice = "credit_exceeds_invoice",
        /// A credit note is not cancelled.
        CreditNoteFinal = "credit_note_final",
        /// A credit note is applied or refunded, not paid.
        CreditNoteNotPayable = "credit_note_not_payable",
        /// Only an invoice is corrected by a credit note.
        CreditNoteOfCreditNote = "credit_note_of_credit_note",
        /// The credit note and the invoice have different currencies.
        CurrencyMismatch = "currency_mismatch",
        /// The customer's personal data was erased: it does not change any more.
        CustomerErased = "customer_erased",
        /// Something refers to the customer: it cannot be deleted.
        CustomerInUse = "customer_in_use",
        /// The customer is not active.
        CustomerInactive = "customer_inactive",
        /// The customer was merged: its survivor is the one to ask for.
        CustomerMerged = "customer_merged",
        /// The credit note and the invoice are of different customers.
        CustomerMismatch = "customer_mismatch",
        /// Another record has this external id.
        DuplicateExternalId = "duplicate_external_id",
        /// The id is taken.
        DuplicateId = "duplicate_id",
        /// Another document of the year has this number.
        DuplicateNumber = "duplicate_number",
        /// Another payment of the invoice has this reference.
        DuplicatePaymentReference = "duplicate_payment_reference",
        /// The invoice has as many events as one may have.
        HistoryFull = "history_full",
        /// A line's idempotency key stands against it.
        IdempotencyConflict = "idempotency_conflict",
        /// The first request with this idempotency key is still running.
        IdempotencyInProgress = "idempotency_in_progress",
        /// The document is cancelled.
        InvoiceCancelled = "invoice_cancelled",
        /// The invoice has credit notes: credit the rest instead of cancelling it.
        InvoiceCredited = "invoice_credited",
        /// Something is paid: reverse or refund it first.
        InvoiceHasPayments = "invoice_has_payments",
        /// An issued document does not change, but for its metadata.
        InvoiceImmutable = "invoice_immutable",
        /// A survivor of a merge is not merged.
        MergeChain = "merge_chain",
        /// Only a credit note can be applied.
        NotACreditNote = "not_a_credit_note",
        /// The document is a draft: issue it first.
        NotIssued = "not_issued",
        /// Nothing is paid that could be taken or given back.
        NothingPaid = "nothing_paid",
        /// `next` is below the number that the series has reached.
        NumberGoesBack = "number_goes_back",
        /// The series has no numbers left.
        NumberSeriesExhausted = "number_series_exhausted",
        /// More is paid than is owed.
        Overpayment = "overpayment",
        /// The payment is reversed already.
        PaymentAlreadyReversed = "payment_already_reversed",
        /// A payment of this kind is not reversed.
        PaymentNotReversible = "payment_not_reversible",
        /// More is refunded than is left of the credit note.
        RefundExceedsCredit = "refund_exceeds_credit",
        /// More is refunded than is paid.
        RefundExceedsPaid = "refund_exceeds_paid",
        /// More would be taken back than is paid.
        ReversalExceedsPaid = "reversal_exceeds_paid",
        /// The tenant has as many API keys as it may have.
        TooManyApiKeys = "too_many_api_keys",
        /// The document's version cannot count any further.
        TooManyChanges = "too_many_changes",
        /// As many customers were merged into this one as may be.
        TooManyMerges = "too_many_merges",
        /// The invoice has as many payments as it may have.
        TooManyPayments = "too_many_payments",
    }
    412 {
        /// `If-Match` or `If-None-Match` rules out the version that is there.
        VersionMismatch = "version_mismatch",
    }
    413 {
        /// The body, or what it decompresses to, is too large.
        BodyTooLarge = "body_too_large",
        /// The gzip stream comes to too many times its size.
        CompressionRatioExceeded = "compression_ratio_exceeded",
    }
    415 {
        /// `Content-Encoding` is neither gzip nor absent.
        UnsupportedEncoding = "unsupported_encoding",
        /// `Content-Type` is not what the route takes.
        UnsupportedMediaType = "unsupported_media_type",
    }
    422 {
        /// The amount must not be negative.
        AmountNegative = "amount_negative",
        /// The amount is too large.
        AmountOutOfRange = "amount_out_of_range",
        /// Lines of an atomic upload cannot be stored; nothing was.
        BulkRejected = "bulk_rejected",
        /// The credit note is dated before its invoice.
        CreditBeforeInvoice = "credit_before_invoice",
        /// More net is credited at a tax rate than is left at it.
        CreditExceedsRate = "credit_exceeds_rate",
        /// The credit note comes to nothing.
        CreditOfNothing = "credit_of_nothing",
        /// The invoice has nothing at this tax rate.
        CreditRateNotCharged = "credit_rate_not_charged",
        /// The e-invoice's list of currencies does not have this one.
        CurrencyNotListed = "currency_not_listed",
        /// The document names both `customer_id` and `customer`.
        CustomerAmbiguous = "customer_ambiguous",
        /// The date is outside of the years that are kept.
        DateOutOfRange = "date_out_of_range",
        /// The discount is more than the line.
        DiscountExceedsLine = "discount_exceeds_line",
        /// The discount is more than the lines.
        DiscountExceedsLines = "discount_exceeds_lines",
        /// The discount is not what its percentage comes to.
        DiscountMismatch = "discount_mismatch",
        /// The discount must not be negative.
        DiscountNegative = "discount_negative",
        /// The percentage is not from 0 to 100.
        DiscountPercentOutOfRange = "discount_percent_out_of_range",
        /// The due date is before the issue date.
        DueBeforeIssue = "due_before_issue",
        /// A member of the document is there twice.
        DuplicateField = "duplicate_field",
        /// A metadata key is declared twice.
        DuplicateMetadataKey = "duplicate_metadata_key",
        /// Another payment of the document has this id.
        DuplicatePaymentId = "duplicate_payment_id",
        /// The patch changes nothing.
        EmptyPatch = "empty_patch",
        /// `expires_at` is not in the future.
        ExpiresAtInPast = "expires_at_in_past",
        /// The export is too large for this format.
        ExportTooLarge = "export_too_large",
        /// The field does not change by a patch.
        FieldNotEditable = "field_not_editable",
        /// The time in the id lies in the future.
        IdInFuture = "id_in_future",
        /// The id is no UUID of version 7.
        IdNotV7 = "id_not_v7",
        /// The idempotency key was used with another request.
        IdempotencyKeyReused = "idempotency_key_reused",
        /// A member of an exported document does not follow from the rest of it.
        InconsistentDocument = "inconsistent_document",
        /// The document is not valid.
        Invalid = "invalid",
        /// The BIC is not one.
        InvalidBic = "invalid_bic",
        /// The value is none of those that there are.
        InvalidChoice = "invalid_choice",
        /// The country is no ISO 3166-1 code of two letters.
        InvalidCountry = "invalid_country",
        /// The date is no `YYYY-MM-DD`.
        InvalidDate = "invalid_date",
        /// The email address is not one.
        InvalidEmail = "invalid_email",
        /// The IBAN is not one.
        InvalidIban = "invalid_iban",
        /// The kind is neither invoice nor credit_note.
        InvalidKind = "invalid_kind",
        /// The metadata key cannot be declared.
        InvalidMetadataKey = "invalid_metadata_key",
        /// There is no such kind of payment.
        InvalidPaymentKind = "invalid_payment_kind",
        /// There is no such role.
        InvalidRole = "invalid_role",
        /// The status cannot be sent.
        InvalidStatus = "invalid_status",
        /// The rounding of tax is neither document nor line.
        InvalidTaxRounding = "invalid_tax_rounding",
        /// The time is no RFC 3339 time.
        InvalidTime = "invalid_time",
        /// The value is of another JSON type, or of another form.
        InvalidType = "invalid_type",
        /// The id is no UUID in its hyphenated form.
        InvalidUuid = "invalid_uuid",
        /// The VAT id is not one.
        InvalidVatId = "invalid_vat_id",
        /// The version of an exported document is out of range.
        InvalidVersion = "invalid_version",
        /// The line of an upload is longer than a line may be.
        LineTooLong = "line_too_long",
        /// A number in the metadata is out of range.
        MetadataNumberOutOfRange = "metadata_number_out_of_range",
        /// The metadata is nested too deeply.
        MetadataTooDeep = "metadata_too_deep",
        /// The metadata is too large.
        MetadataTooLarge = "metadata_too_large",
        /// A required field is missing.
        MissingField = "missing_field",
        /// A line of a platform upload names no tenant.
        MissingTenant = "missing_tenant",
        /// One document has lines of tax categories that exclude one another.
        MixedCategories = "mixed_categories",
        /// The total must not be negative.
        NegativeTotal = "negative_total",
        /// The document has no lines.
        NoLines = "no_lines",
        /// A draft, or a cancelled document, is no e-invoice.
        NotInForce = "not_in_force",
        /// The statement does more than read.
        NotReadOnly = "not_read_only",
        /// The number is out of range.
        NumberOutOfRange = "number_out_of_range",
        /// The payments come to more than the document.
        Overpaid = "overpaid",
        /// The overlap is out of range.
        OverlapOutOfRange = "overlap_out_of_range",
        /// The padding is out of range.
        PaddingOutOfRange = "padding_out_of_range",
        /// The payment is dated in the future.
        PaidInFuture = "paid_in_future",
        /// The amount of the payment must be greater than 0.
        PaymentNotPositive = "payment_not_positive",
        /// A draft cannot be paid.
        PaymentOnDraft = "payment_on_draft",
        /// The amount of the payment must not be 0.
        PaymentZero = "payment_zero",
        /// The quantity must not be 0.
        QuantityZero = "quantity_zero",
        /// The query failed on its data, for example by a division by 0.
        QueryFailed = "query_failed",
        /// The query needs more memory than it may have.
        QueryMemoryExceeded = "query_memory_exceeded",
        /// The statement is larger or deeper than it may be.
        QueryTooComplex = "query_too_complex",
        /// The text must not be empty.
        StringEmpty = "string_empty",
        /// The text must not contain control characters.
        StringHasControl = "string_has_control",
        /// The text must not contain NUL.
        StringHasNul = "string_has_nul",
        /// The text is too long.
        StringTooLong = "string_too_long",
        /// The tax rate is out of range.
        TaxRateOutOfRange = "tax_rate_out_of_range",
        /// The e-invoice's rules do not take tax that is rounded by line.
        TaxRounding = "tax_rounding",
        /// The line names both `tenant_id` and `tenant_external_id`.
        TenantAmbiguous = "tenant_ambiguous",
        /// The time is outside of the years that are kept.
        TimeOutOfRange = "time_out_of_range",
        /// The amount has more decimals than its currency, or than are kept.
        TooManyDecimals = "too_many_decimals",
        /// The query would read more rows of the hot tier than it may.
        TooManyHotRows = "too_many_hot_rows",
        /// The list is too long.
        TooManyItems = "too_many_items",
        /// The document has too many lines.
        TooManyLines = "too_many_lines",
        /// Too many metadata keys are declared.
        TooManyMetadataKeys = "too_many_metadata_keys",
        /// The answer has more rows than it may have.
        TooManyRows = "too_many_rows",
        /// The document has too much text to be set.
        TooMuchText = "too_much_text",
        /// The total is what the lines come to with tax rounded by line; `"tax_rounding": "line"`
        /// says so.
        TotalFitsLineRounding = "total_fits_line_rounding",
        /// The total is not what the lines come to.
        TotalMismatch = "total_mismatch",
        /// The unit price must not be negative.
        UnitPriceNegative = "unit_price_negative",
        /// The currency is no ISO 4217 code.
        UnknownCurrency = "unknown_currency",
        /// The document has no such field.
        UnknownField = "unknown_field",
    }
    429 {
        /// The tenant has sent too many requests; see `Retry-After`.
        RateLimited = "rate_limited",
        /// The tenant has as many documents being made as it may have.
        TooManyDocuments = "too_many_documents",
        /// The tenant has as many exports running as it may have.
        TooManyExports = "too_many_exports",
        /// The tenant has as many queries running as it may have.
        TooManyQueries = "too_many_queries",
        /// The tenant has as many requests of this kind running as it may have.
        TooManyRequests = "too_many_requests",
        /// The tenant has as many uploads running as it may have.
        TooManyUploads = "too_many_uploads",
        /// Too many wrong credentials came from this address; see `Retry-After`.
        TooManyWrongCredentials = "too_many_wrong_credentials",
        /// The tenant has as many bytes in atomic uploads as it may have.
        UploadSpaceExceeded = "upload_space_exceeded",
    }
    500 {
        /// Something went wrong on the server's side.
        InternalError = "internal_error",
    }
    501 {
        /// This server was built without what the route needs.
        NotBuilt = "not_built",
    }
    503 {
        /// The archive is unavailable.
        ArchiveUnavailable = "archive_unavailable",
        /// There is as much of this kind of work as may be at a time; see `Retry-After`.
        Busy = "busy",
        /// The hold is stored, and a deletion that began before it may still take effect.
        DeletionUnderWay = "deletion_under_way",
        /// The keys of the token's issuer could not be read yet.
        JwksUnavailable = "jwks_unavailable",
        /// The database cannot be reached, or a queue does not move.
        NotReady = "not_ready",
        /// The database took too long.
        StoreTimeout = "store_timeout",
        /// The database is unavailable.
        StoreUnavailable = "store_unavailable",
    }
    504 {
        /// The database's answer to the commit was lost: look before sending it again, or send it
        /// with the same `Idempotency-Key`.
        OutcomeUnknown = "outcome_unknown",
        /// The query took longer than it may.
        QueryTimeout = "query_timeout",
        /// The request took longer than the server allows; whether it took effect is unknown.
        Timeout = "timeout",
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl PartialEq<&str> for Code {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}
