//! Settings of the HTTP API, with the defaults of the contract.

use sheaf_web::Config;

use std::path::PathBuf;
use std::time::Duration;

/// Settings of the HTTP API. [`ApiConfig::new`] gives the documented defaults.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// What every HTTP surface has: connections, bounds of requests, credentials, rates.
    pub web: Config,
    /// Bulk uploads.
    pub bulk: BulkConfig,
    /// PDFs and e-invoices that may wait or be made. Default 64.
    pub documents: usize,
    /// Those of one tenant among them. Default 16.
    pub documents_per_tenant: usize,
}

/// Bounds of one bulk upload: its memory stays below about three chunks and two batches.
#[derive(Clone, Debug)]
pub struct BulkConfig {
    /// Bytes of one NDJSON line; a longer one is rejected by number. Default 1 MiB.
    pub line_limit: usize,
    /// The same with `restore=true`: what the API tells of an invoice is longer than what it was
    /// made of. Default 8 MiB.
    pub restore_line_limit: usize,
    /// Lines parsed in one go. Default 256.
    pub batch_lines: usize,
    /// Bytes parsed in one go. Default 1 MiB.
    pub batch_bytes: usize,
    /// Invoices written by one chunk. Default 2,000.
    pub chunk_invoices: usize,
    /// Invoice lines written by one chunk. Default 20,000.
    pub chunk_lines: usize,
    /// NDJSON bytes written by one chunk. Default 4 MiB.
    pub chunk_bytes: usize,
    /// Chunks being written at once, for one upload. Default 2.
    pub chunks_in_flight: usize,
    /// Line errors named in the answer. Default 1,000.
    pub max_errors: usize,
    /// Time without a byte from the client, else 408. Default 60 s.
    pub idle_timeout: Duration,
    /// Lease of a running upload's idempotency key; extended while it runs. Default 60 s.
    pub idempotency_lease: Duration,
    /// Decoded bytes of an atomic upload, which is spooled to disk before it is written. Default 8
    /// GiB.
    pub spool_limit: u64,
    /// The same of all that one tenant has running. Default 8 GiB.
    pub spool_limit_per_tenant: u64,
    /// The same of all that run. Default 16 GiB.
    pub spool_limit_total: u64,
    /// Uploads that one tenant may have running. Default 8. Of these and the following pairs one is
    /// always left for other tenants; the platform counts as one.
    pub uploads_per_tenant: usize,
    /// Uploads that may run. Default 64.
    pub uploads: usize,
    /// Atomic ones of one tenant among them. Default 2.
    pub atomic_uploads_per_tenant: usize,
    /// Atomic ones among them. Default 8.
    pub atomic_uploads: usize,
    /// Bytes that one byte of gzip may come to, on the average of an upload. Default 100: documents
    /// come to 5 to 40.
    pub max_compression: u64,
    /// Decoded bytes from which on that is looked at. Default 16 MiB.
    pub compression_from: u64,
    /// Where atomic uploads are spooled. Default: the system's directory for temporary files.
    pub spool_dir: Option<PathBuf>,
    /// Tenants that one atomic upload may make. Default 10,000.
    pub max_new_tenants: usize,
}

impl ApiConfig {
    /// The defaults.
    #[must_use]
    pub fn new(admin_key: impl Into<String>) -> Self {
        Self {
            web: Config::new(admin_key),
            bulk: BulkConfig::default(),
            documents: 64,
            documents_per_tenant: 16,
        }
    }
}

impl Default for BulkConfig {
    fn default() -> Self {
        Self {
            line_limit: 1 << 20,
            restore_line_limit: 8 << 20,
            batch_lines: 256,
            batch_bytes: 1 << 20,
            chunk_invoices: 2_000,
            chunk_lines: 20_000,
            chunk_bytes: 4 << 20,
            chunks_in_flight: 2,
            max_errors: 1_000,
            idle_timeout: Duration::from_secs(60),
            idempotency_lease: Duration::from_secs(60),
            spool_limit: 8 << 30,
            spool_limit_per_tenant: 8 << 30,
            spool_limit_total: 16 << 30,
            uploads_per_tenant: 8,
            uploads: 64,
            atomic_uploads_per_tenant: 2,
            atomic_uploads: 8,
            max_compression: 100,
            compression_from: 16 << 20,
            spool_dir: None,
            max_new_tenants: 10_000,
        }
    }
}
