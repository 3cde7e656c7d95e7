//! How much of what all tenants share one of them may take, and how much there is in all.

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use sheaf_api::{ApiConfig, BulkConfig};
use sheaf_archive::{ExportLimits, QueryLimits};

use crate::terminal::units;

/// So many at once that nothing is bounded by it.
const MOST: u64 = 100_000;

fn count() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=MOST)
}

/// Of each pair, one place of two or more is always left for other tenants. The platform's uploads
/// count as one tenant's.
#[derive(Clone, Debug, Args)]
pub(crate) struct ShareSettings {
    /// Uploads that run at once in this process; one more is answered with 503
    #[arg(long, env = "SHEAF_UPLOADS", default_value_t = 64, value_name = "N", value_parser = count())]
    uploads: usize,
    /// Uploads of one tenant among them; one more is answered with 429, as beyond any share of a
    /// tenant
    #[arg(long, env = "SHEAF_UPLOADS_PER_TENANT", default_value_t = 8, value_name = "N", value_parser = count())]
    uploads_per_tenant: usize,
    /// Uploads with atomic=true among all uploads
    #[arg(long, env = "SHEAF_ATOMIC_UPLOADS", default_value_t = 8, value_name = "N", value_parser = count())]
    atomic_uploads: usize,
    /// Uploads with atomic=true of one tenant
    #[arg(long, env = "SHEAF_ATOMIC_UPLOADS_PER_TENANT", default_value_t = 2, value_name = "N", value_parser = count())]
    atomic_uploads_per_tenant: usize,
    /// Where lines of atomic uploads lie until all have come [default: the directory for temporary
    /// files]
    #[arg(long, env = "SHEAF_SPOOL_DIR", value_name = "DIR")]
    spool_dir: Option<PathBuf>,
    /// Bytes of atomic uploads that may lie in the spool directory: 500MiB, 16GiB
    #[arg(long, env = "SHEAF_SPOOL", default_value = super::defaults::SPOOL, value_name = "BYTES", value_parser = units::bytes)]
    spool: NonZeroU64,
    /// Bytes of one tenant's atomic uploads there, and of one upload
    #[arg(long, env = "SHEAF_SPOOL_PER_TENANT", default_value = "8GiB", value_name = "BYTES", value_parser = units::bytes)]
    spool_per_tenant: NonZeroU64,
    /// Bytes that a byte of gzip may come to, over an upload of more than 16 MiB; more is answered
    /// with 413
    #[arg(long, env = "SHEAF_GZIP_RATIO", default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    gzip_ratio: u64,
    /// PDFs and e-invoices that may wait or be made at once in this process
    #[arg(long, env = "SHEAF_DOCUMENTS", default_value_t = 64, value_name = "N", value_parser = count())]
    documents: usize,
    /// PDFs and e-invoices of one tenant among them
    #[arg(long, env = "SHEAF_DOCUMENTS_PER_TENANT", default_value_t = 16, value_name = "N", value_parser = count())]
    documents_per_tenant: usize,
    /// Exports that run at once in this process
    #[arg(long, env = "SHEAF_EXPORTS", default_value_t = 8, value_name = "N", value_parser = count())]
    exports: usize,
    /// Exports of one tenant among them
    #[arg(long, env = "SHEAF_EXPORTS_PER_TENANT", default_value_t = 2, value_name = "N", value_parser = count())]
    exports_per_tenant: usize,
    /// Queries over the archive that run at once in this process; each may take 256 MiB
    #[arg(long, env = "SHEAF_QUERIES", default_value_t = 8, value_name = "N", value_parser = count())]
    queries: usize,
    /// Queries of one tenant among them
    #[arg(long, env = "SHEAF_QUERIES_PER_TENANT", default_value_t = 2, value_name = "N", value_parser = count())]
    queries_per_tenant: usize,
}

impl ShareSettings {
    /// Puts the API's part into its settings.
    pub(super) fn apply(&self, config: &mut ApiConfig) {
        config.documents = self.documents;
        config.documents_per_tenant = self.documents_per_tenant;
        config.bulk = BulkConfig {
            uploads: self.uploads,
            uploads_per_tenant: self.uploads_per_tenant,
            atomic_uploads: self.atomic_uploads,
            atomic_uploads_per_tenant: self.atomic_uploads_per_tenant,
            spool_dir: self.spool_dir.clone(),
            spool_limit: self.spool_per_tenant.get(),
            spool_limit_per_tenant: self.spool_per_tenant.get(),
            spool_limit_total: self.spool.get(),
            max_compression: self.gzip_ratio,
            ..config.bulk.clone()
        };
    }

    pub(crate) fn exports(&self) -> ExportLimits {
        ExportLimits {
            per_tenant: self.exports_per_tenant,
            total: self.exports,
            ..ExportLimits::default()
        }
    }

    pub(crate) fn queries(&self) -> QueryLimits {
        QueryLimits {
            per_tenant: self.queries_per_tenant,
            total: self.queries,
            ..QueryLimits::default()
        }
    }
}
