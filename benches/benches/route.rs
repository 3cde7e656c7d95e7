//! What a route costs: the tenant's hash and the look-up of its shard, for every request.
#![allow(clippy::unwrap_used, missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sheaf_model::TenantId;
use sheaf_store::bench;
use uuid::Uuid;

const TENANTS: u64 = 1_000;

fn route(criterion: &mut Criterion) {
    let tenants: Vec<TenantId> = (0..TENANTS).map(|_| TenantId(Uuid::now_v7())).collect();
    let mut group = criterion.benchmark_group(format!("{TENANTS} tenants"));
    group.throughput(Throughput::Elements(TENANTS));
    for shards in [32_i64, 1_024] {
        // Equal parts of the hash space, as Citus makes them.
        let min_hashes: Vec<i32> = (0..shards)
            .map(|n| i32::try_from(i64::from(i32::MIN) + n * ((1 << 32) / shards)).unwrap())
            .collect();
        group.bench_function(format!("route among {shards} shards"), |bencher| {
            bencher.iter(|| {
                tenants
                    .iter()
                    .map(|tenant| bench::route(&min_hashes, *tenant))
                    .sum::<usize>()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, route);
criterion_main!(benches);
