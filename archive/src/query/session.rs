//! The session of one query: the tenant's tables, functions that compute, and nothing else.

use std::num::NonZeroUsize;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::catalog::{CatalogProvider, CatalogProviderList, MemoryCatalogProviderList};
use datafusion::catalog::{MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider};
use datafusion::error::Result;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{GreedyMemoryPool, TrackConsumersPool};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SessionState, SessionStateBuilder, SessionStateDefaults};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::object_store::memory::InMemory;
use datafusion::optimizer::Optimizer;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::prelude::SessionConfig;

use crate::query::bound::order::KeepOrder;
use crate::query::bound::watch::{Watch, Watched};
use crate::query::function::arithmetic::Exact;
use crate::query::function::registry::FUNCTIONS;
use crate::query::statement::complexity;
use crate::query::table;
use crate::query::table::NOWHERE;
use crate::query::table::files::Scope;
use crate::quota::QueryLimits;

/// Names that a query may put before a table's.
const CATALOG: &str = "sheaf";
const SCHEMA: &str = "archive";
/// Operators that are named when memory runs out.
const NAMED: NonZeroUsize = NonZeroUsize::MIN;

/// A session over `scope` of a query that began at `now`.
pub(super) fn session(
    scope: &Arc<Scope>,
    limits: &QueryLimits,
    watch: &Arc<Watch>,
    now: DateTime<Utc>,
) -> Result<SessionState> {
    let functions = &*FUNCTIONS;
    let schema = MemorySchemaProvider::new();
    for (name, table) in table::tables(scope) {
        schema.register_table(name.to_owned(), table)?;
    }
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(SCHEMA, Arc::new(schema))?;
    let catalogs = MemoryCatalogProviderList::new();
    catalogs.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
    let mut rules = PhysicalOptimizer::new().rules;
    rules.push(Arc::new(KeepOrder));
    let config = config(limits).with_option_extension(Watched(Arc::clone(watch)));
    let mut clock = ExecutionProps::new();
    clock.mark_start_execution(Arc::clone(config.options()));
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(Arc::new(runtime(limits)?))
        .with_execution_props(clock.with_query_execution_start_time(now))
        .with_catalog_list(Arc::new(catalogs))
        .with_analyzer_rule(Arc::new(Exact))
        .with_optimizer_rules(complexity::bounded(Optimizer::new().rules))
        .with_physical_optimizer_rules(rules)
        .with_expr_planners(SessionStateDefaults::default_expr_planners())
        .with_scalar_functions(functions.scalar.clone())
        .with_aggregate_functions(functions.aggregate.clone())
        .with_window_functions(functions.window.clone())
        .build();
    Ok(state)
}

fn config(limits: &QueryLimits) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_information_schema(false)
        .with_target_partitions(limits.threads.max(1));
    let options = config.options_mut();
    // Numbers with a point are decimals: money is never a float, not even in a comparison.
    options.sql_parser.parse_float_as_decimal = true;
    // Clients of Arrow need not know views.
    options.optimizer.expand_views_at_output = true;
    options.execution.parquet.pushdown_filters = true;
    options.execution.parquet.reorder_filters = true;
    options.execution.parquet.bloom_filter_on_read = true;
    options.execution.parquet.enable_page_index = true;
    options.execution.parquet.pruning = true;
    // Files are small: two threads share one rather than wait for one another.
    options.optimizer.repartition_file_min_size = 1024 * 1024;
    options.explain.logical_plan_only = false;
    config
}

/// Memory within the bound, no disk, and one object store in which there is nothing.
fn runtime(limits: &QueryLimits) -> Result<RuntimeEnv> {
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    let pool = TrackConsumersPool::new(GreedyMemoryPool::new(limits.memory), NAMED);
    let runtime = RuntimeEnvBuilder::new()
        .with_disk_manager_builder(disk)
        .with_memory_pool(Arc::new(pool))
        .build()?;
    runtime.deregister_object_store(ObjectStoreUrl::local_filesystem().as_ref())?;
    let nowhere = ObjectStoreUrl::parse(NOWHERE)?;
    runtime.register_object_store(nowhere.as_ref(), Arc::new(InMemory::new()));
    Ok(runtime)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn no_store_is_within_reach() {
        let runtime = runtime(&QueryLimits::default()).unwrap();
        assert!(!runtime.disk_manager.tmp_files_enabled());
        let local = ObjectStoreUrl::local_filesystem();
        assert!(runtime.object_store(&local).is_err());
        for url in ["s3://bucket", "http://localhost", "memory://"] {
            let url = ObjectStoreUrl::parse(url).unwrap();
            assert!(runtime.object_store(&url).is_err(), "{url:?}");
        }
        assert!(
            runtime
                .object_store(ObjectStoreUrl::parse(NOWHERE).unwrap())
                .is_ok()
        );
    }
}
